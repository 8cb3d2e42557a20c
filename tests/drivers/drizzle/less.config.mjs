import config from "./drizzle.config.mjs";

export default { ...config, schema: "./less.mjs" };
