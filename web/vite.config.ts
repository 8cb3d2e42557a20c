import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { licences } from "./scripts/licences.mjs";

// `npm run dev` serves the pages from their sources; the API is that of a running `postern dev`.
export default defineConfig({
  plugins: [react(), licences()],
  // The control plane compares the page's origin with the host that is asked, which therefore stays.
  server: { proxy: { "/api": { target: process.env["POSTERN_URL"] ?? "http://127.0.0.1:8080", changeOrigin: false } } },
  build: {
    target: "es2022",
    // A polyfill is a script more, and every browser that knows Trusted Types preloads modules by itself.
    modulePreload: { polyfill: false },
    // As a data URL a font would need a hole in the Content-Security-Policy.
    assetsInlineLimit: 0,
    manifest: true,
  },
});
