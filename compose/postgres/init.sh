#!/bin/sh
# The shop's table, and an account that may only read it: what the business exporter uses. Runs once, on an empty volume.
set -eu
reader=$(cat "${READER_PASSWORD_FILE:-/run/secrets/reader_password}")
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set reader="$reader" <<'SQL'
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created timestamptz NOT NULL DEFAULT now(),
    done timestamptz,
    status text NOT NULL DEFAULT 'open',
    cents bigint NOT NULL
);
CREATE INDEX orders_created ON orders (created);
CREATE ROLE reader LOGIN PASSWORD :'reader';
ALTER ROLE reader SET default_transaction_read_only = on;
GRANT SELECT ON orders TO reader;
SQL
