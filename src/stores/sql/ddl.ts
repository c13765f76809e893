import type { SqlEngine } from "./engines.js";

/**
 * The kind of data in a column. `name` is text of up to 255 characters that is looked up or sorted by, `id` is one of
 * up to 64 and `code` one of up to 32, `text` is any other text; `time` is milliseconds since the epoch or another integer; `number` is an
 * auto-incremented row number.
 */
export type ColumnType = "name" | "id" | "code" | "text" | "digest" | "time" | "number";

export interface Table {
  readonly name: string;
  /** A type that ends in `?` may be null. */
  readonly columns: Readonly<Record<string, ColumnType | `${ColumnType}?`>>;
  readonly primaryKey: readonly string[];
  /** Index name: columns in order, each optionally with `desc`. */
  readonly indexes: Readonly<Record<string, readonly string[]>>;
  /** Like `indexes`: no two rows may have the same values in these columns. */
  readonly unique?: Readonly<Record<string, readonly string[]>>;
  readonly references?: { readonly column: string; readonly table: string; readonly key: string };
}

/**
 * Text that is looked up is compared byte by byte in every engine. PostgreSQL's collation "C" also prevents a change of
 * the system's C library from changing the sort order, and with it the index. MySQL's `_bin` collations ignore trailing
 * blanks, and the one that does not has another name in MariaDB, so such text is stored as bytes there.
 */
const TYPES: Readonly<Record<SqlEngine, Readonly<Record<ColumnType, string>>>> = {
  sqlite: {
    name: "varchar(255)",
    id: "varchar(64)",
    code: "varchar(32)",
    text: "text",
    digest: "text",
    time: "bigint",
    number: "integer",
  },
  postgres: {
    name: 'varchar(255) collate "C"',
    id: 'varchar(64) collate "C"',
    code: 'varchar(32) collate "C"',
    text: "text",
    digest: "text",
    time: "bigint",
    number: "bigint generated always as identity",
  },
  mysql: {
    name: "varbinary(1020)",
    id: "varbinary(64)",
    code: "varbinary(32)",
    text: "mediumtext character set utf8mb4 collate utf8mb4_bin",
    digest: "varbinary(1020)",
    time: "bigint",
    number: "bigint auto_increment",
  },
};

/**
 * The statements that create a table and its indexes. On MySQL, where each statement commits by itself, it is a single
 * statement, which may be run again after a crash.
 */
export function createTable(engine: SqlEngine, table: Table): string[] {
  const quote = (name: string) => (engine === "mysql" ? `\`${name}\`` : `"${name}"`);
  const list = (columns: readonly string[]) => columns.map((column) => column.replace(/^\w+/, quote)).join(", ");
  const lines = Object.entries(table.columns).map(([name, type]) => `${quote(name)} ${columnType(engine, type)}`);
  // SQLite auto-increments only a column declared exactly so, in the same line.
  if (!Object.values(table.columns).includes("number") || engine !== "sqlite")
    lines.push(`primary key (${list(table.primaryKey)})`);
  const { references } = table;
  if (references !== undefined)
    lines.push(
      `foreign key (${quote(references.column)}) references ${quote(references.table)} (${quote(references.key)})`,
    );
  const indexes = [
    ...Object.entries(table.unique ?? {}).map(([name, columns]) => ({ kind: "unique ", name, columns })),
    ...Object.entries(table.indexes).map(([name, columns]) => ({ kind: "", name, columns })),
  ];
  if (engine === "mysql") {
    for (const { kind, name, columns } of indexes) lines.push(`${kind}key ${quote(name)} (${list(columns)})`);
    return [
      `create table if not exists ${quote(table.name)} (\n  ${lines.join(",\n  ")}\n) engine=InnoDB row_format=dynamic`,
    ];
  }
  return [
    `create table ${quote(table.name)} (\n  ${lines.join(",\n  ")}\n)`,
    ...indexes.map(
      ({ kind, name, columns }) => `create ${kind}index ${quote(name)} on ${quote(table.name)} (${list(columns)})`,
    ),
  ];
}

/**
 * The statements that add a nullable column. MySQL has no `add column if not exists`, and there a statement must be
 * repeatable, because a crash may prevent it from being recorded. So the column is added only when it is missing.
 */
export function addColumn(engine: SqlEngine, table: string, column: string, type: `${ColumnType}?`): string[] {
  if (engine !== "mysql") return [`alter table "${table}" add column "${column}" ${columnType(engine, type)}`];
  return runIf(
    `(select count(*) from information_schema.columns where table_schema = database() and table_name = '${table}' and column_name = '${column}') = 0`,
    `alter table \`${table}\` add column \`${column}\` ${columnType(engine, type)}`,
  );
}

/** The statements that create an index of a table that exists. MySQL creates it only when it is missing, like a column. */
export function addIndex(engine: SqlEngine, table: string, index: string, columns: readonly string[]): string[] {
  const quote = engine === "mysql" ? "`" : '"';
  const list = columns.map((column) => column.replace(/^\w+/, `${quote}$&${quote}`)).join(", ");
  const create = `create index ${quote}${index}${quote} on ${quote}${table}${quote} (${list})`;
  return engine === "mysql" ? runIf(`${columnsOfIndex(table, index)} = 0`, create) : [create];
}

/** The statements that drop an index if it is there. MySQL has no `drop index if exists`. */
export function dropIndex(engine: SqlEngine, table: string, index: string): string[] {
  if (engine !== "mysql") return [`drop index if exists "${index}"`];
  return runIf(`${columnsOfIndex(table, index)} > 0`, `drop index \`${index}\` on \`${table}\``);
}

function columnsOfIndex(table: string, index: string): string {
  return `(select count(*) from information_schema.statistics where table_schema = database() and table_name = '${table}' and index_name = '${index}')`;
}

/** On MySQL: runs a statement when the condition holds. */
function runIf(condition: string, statement: string): string[] {
  return [
    `set @portcullis = if(${condition}, '${statement}', 'do 0')`,
    "prepare portcullis from @portcullis",
    "execute portcullis",
    "deallocate prepare portcullis",
  ];
}

function columnType(engine: SqlEngine, type: ColumnType | `${ColumnType}?`): string {
  const mayBeNull = type.endsWith("?");
  const kind = (mayBeNull ? type.slice(0, -1) : type) as ColumnType;
  if (engine === "sqlite" && kind === "number") return "integer primary key autoincrement";
  return `${TYPES[engine][kind]}${mayBeNull ? "" : " not null"}`;
}
