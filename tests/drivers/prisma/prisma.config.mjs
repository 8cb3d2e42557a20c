// Prisma's schema engine as it comes with its package. The other one is a program that is fetched from Prisma's site.

import { createRequire } from "node:module";
import { PrismaPg } from "@prisma/adapter-pg";

const ofAdapter = createRequire(createRequire(import.meta.url).resolve("@prisma/adapter-pg"));
const pg = ofAdapter("pg");
const { ColumnTypeEnum } = ofAdapter("@prisma/driver-adapter-utils");

// The adapter does not know the types of PostgreSQL's own catalog, https://github.com/prisma/prisma/issues/27403.
const [CHAR, NAME, TEXT, NAMES, TEXTS] = [18, 19, 25, 1003, 1009];
let characters = [];

class Client extends pg.Client {
  _handleRowDescription(message) {
    characters = message.fields.map((field) => field.dataTypeID === CHAR);
    for (const field of message.fields) {
      const known = { [CHAR]: TEXT, [NAME]: TEXT, [NAMES]: TEXTS };
      field.dataTypeID = known[field.dataTypeID] ?? field.dataTypeID;
    }
    super._handleRowDescription(message);
  }
}

class Adapter extends PrismaPg {
  async connect() {
    const connection = await super.connect();
    const queryRaw = connection.queryRaw.bind(connection);
    connection.queryRaw = async (query) => {
      const result = await queryRaw(query);
      result.columnTypes = result.columnTypes.map((type, at) => (characters[at] ? ColumnTypeEnum.Character : type));
      return result;
    };
    return connection;
  }
}

// The engine leaves a timer of a minute behind, for which the process would wait.
const { setTimeout: timer } = globalThis;
globalThis.setTimeout = (call, delay, ...args) => (delay < 60_000 ? timer(call, delay, ...args) : timer(call, delay, ...args).unref());

const connectionString = process.env.POSTERN_TEST_URL;

export default {
  experimental: { adapter: true },
  engine: "js",
  adapter: async () => new Adapter({ connectionString, Client, allowExitOnIdle: true }, { schema: "shop" }),
};
