export default {
  dialect: "postgresql",
  schema: "./made.mjs",
  out: "./pulled",
  dbCredentials: { url: process.env.POSTERN_TEST_URL },
  schemaFilter: [process.env.POSTERN_TEST_SCHEMA ?? "shop"],
};
