-- SPDX-License-Identifier: Apache-2.0
-- What the programs of this folder find in their database.

CREATE TABLE accounts (
  name text PRIMARY KEY,
  balance integer NOT NULL CHECK (balance >= 0)
);

CREATE TABLE users (
  name text PRIMARY KEY,
  salt bytea NOT NULL,
  -- scrypt with Node's parameters, 32 bytes
  password_hash bytea NOT NULL
);

CREATE TABLE sessions (
  -- SHA-256 of the id: who reads this table can use none of its sessions
  id_hash bytea PRIMARY KEY,
  data jsonb NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX ON sessions (expires_at);
