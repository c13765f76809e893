import { randomUUID } from "node:crypto";
import Database from "libsql";
import type { AccountUser, AccountUsers } from "portcullis/accounts";

interface Row {
  readonly id: string;
  readonly email: string;
}

/** The app's own table of users. Portcullis keeps passwords and factors in tables of its own, in the same file. */
export class UserTable implements AccountUsers {
  readonly #db: Database.Database;

  constructor(file: string) {
    this.#db = new Database(file);
    this.#db.exec("create table if not exists users (id text primary key, email text not null unique)");
  }

  findByLogin(login: string): AccountUser | undefined {
    return userOf(this.#db.prepare("select id, email from users where email = ?").get(login.trim().toLowerCase()));
  }

  findById(id: string): AccountUser | undefined {
    return userOf(this.#db.prepare("select id, email from users where id = ?").get(id));
  }

  /** Nothing when the address is taken. */
  create({ login }: { login: string }): AccountUser | undefined {
    const row = { id: randomUUID(), email: login.trim().toLowerCase() };
    const { changes } = this.#db
      .prepare("insert into users (id, email) values (?, ?) on conflict do nothing")
      .run(row.id, row.email);
    return changes === 0 ? undefined : userOf(row);
  }

  close(): void {
    this.#db.close();
  }
}

function userOf(row: unknown): AccountUser | undefined {
  if (row === undefined) return undefined;
  const { id, email } = row as Row;
  return { id, login: email, email, emailVerified: true };
}
