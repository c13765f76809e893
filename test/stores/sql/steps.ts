import type { KyselyPlugin, QueryId, RootOperationNode } from "kysely";

/** Counts statements, and rows that they read or change. */
export class Steps implements KyselyPlugin {
  statements = 0;
  rows = 0;
  readonly #bounds = new WeakSet<QueryId>();

  transformQuery({ node, queryId }: Parameters<KyselyPlugin["transformQuery"]>[0]): typeof node {
    this.statements += 1;
    if (isBound(node)) this.#bounds.add(queryId);
    return node;
  }

  async transformResult({ result, queryId }: Parameters<KyselyPlugin["transformResult"]>[0]): Promise<typeof result> {
    this.rows += result.rows.length;
    // For the beginning of a transaction, node:sqlite repeats what the statement before has changed.
    if (!this.#bounds.has(queryId)) this.rows += Number(result.numAffectedRows ?? 0n);
    return result;
  }

  async of(work: () => Promise<unknown>): Promise<[statements: number, rows: number]> {
    this.statements = 0;
    this.rows = 0;
    await work();
    return [this.statements, this.rows];
  }
}

function isBound(node: RootOperationNode): boolean {
  return node.kind === "RawNode" && /^(?:begin|commit|rollback)\b/.test(node.sqlFragments.join(""));
}
