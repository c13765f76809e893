import { type CompiledQuery, createQueryId, type KyselyPlugin, type RootOperationNode, sql } from "kysely";
import { engineOf, type PortcullisDatabase } from "portcullis/sql";

/** How a statement was run: the engine's plan, and how many rows it read; SQLite does not say how many. */
export interface Reads {
  readonly plan: string;
  readonly rows: number | undefined;
}

/** Remembers the last statement, so that it can be run again to see how it is run. */
export class LastStatement implements KyselyPlugin {
  #node: RootOperationNode | undefined;

  transformQuery({ node }: Parameters<KyselyPlugin["transformQuery"]>[0]): typeof node {
    this.#node = node;
    return node;
  }

  async transformResult({ result }: Parameters<KyselyPlugin["transformResult"]>[0]): Promise<typeof result> {
    return result;
  }

  /** @param db the database without this plugin */
  async reads(db: PortcullisDatabase): Promise<Reads> {
    if (this.#node === undefined) throw new Error("No statement was run.");
    const query = db.getExecutor().compileQuery(this.#node, createQueryId());
    return READS[await engineOf(db)](db, query);
  }
}

const READS = {
  async sqlite(db: PortcullisDatabase, query: CompiledQuery): Promise<Reads> {
    return { plan: JSON.stringify(await explained(db, query, "explain query plan")), rows: undefined };
  },

  async postgres(db: PortcullisDatabase, query: CompiledQuery): Promise<Reads> {
    const [row] = await explained(db, query, "explain (analyze, format json)");
    const [{ Plan }] = row?.["QUERY PLAN"] as [{ Plan: PostgresNode }];
    return { plan: JSON.stringify(Plan), rows: rowsOf(Plan) };
  },

  async mysql(db: PortcullisDatabase, query: CompiledQuery): Promise<Reads> {
    const plan = JSON.stringify(await explained(db, query, "explain format=traditional"));
    const rows = await db.connection().execute(async (connection) => {
      const before = await handlerReads(connection);
      await connection.executeQuery(query);
      return (await handlerReads(connection)) - before;
    });
    return { plan, rows };
  },
};

async function explained(db: PortcullisDatabase, query: CompiledQuery, explain: string) {
  const { rows } = await db.executeQuery<Record<string, unknown>>({ ...query, sql: `${explain} ${query.sql}` });
  return rows;
}

interface PostgresNode {
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly Plans?: readonly PostgresNode[];
}

/** Of the scans: those that the filter removed too. */
function rowsOf(node: PostgresNode): number {
  if (node.Plans !== undefined) return node.Plans.reduce((sum, child) => sum + rowsOf(child), 0);
  return (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0)) * node["Actual Loops"];
}

/** Rows that this connection has read by an index, those included that a condition on the index has removed. */
async function handlerReads(connection: PortcullisDatabase): Promise<number> {
  const { rows } = await sql<{ Variable_name: string; Value: string }>`
    show session status where variable_name in ('Handler_read_first', 'Handler_read_key', 'Handler_read_last',
      'Handler_read_next', 'Handler_read_prev', 'Handler_icp_attempts', 'Handler_icp_match')`.execute(connection);
  // What fulfils the condition is counted as read, too.
  return rows.reduce(
    (sum, { Variable_name: name, Value }) => sum + Number(Value) * (name === "Handler_icp_match" ? -1 : 1),
    0,
  );
}
