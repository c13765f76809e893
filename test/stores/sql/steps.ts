import type { KyselyPlugin } from "kysely";

/** Counts statements, and rows that they read or change. */
export class Steps implements KyselyPlugin {
  statements = 0;
  rows = 0;

  transformQuery({ node }: Parameters<KyselyPlugin["transformQuery"]>[0]): typeof node {
    this.statements += 1;
    return node;
  }

  async transformResult({ result }: Parameters<KyselyPlugin["transformResult"]>[0]): Promise<typeof result> {
    this.rows += result.rows.length + Number(result.numAffectedRows ?? 0n);
    return result;
  }

  async of(work: () => Promise<unknown>): Promise<[statements: number, rows: number]> {
    this.statements = 0;
    this.rows = 0;
    await work();
    return [this.statements, this.rows];
  }
}
