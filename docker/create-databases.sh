#!/bin/bash
# PostgreSQL's image runs this once, on an empty data folder: one database each for Label Studio and the backend.
set -euo pipefail
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<SQL
CREATE DATABASE labelstudio;
CREATE DATABASE regiontext;
SQL
