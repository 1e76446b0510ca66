#!/bin/bash
# The official image's contract, by the names that it shares with MySQL's.
set -e
data=/var/lib/mysql
if [ "${1#-}" != "$1" ]; then set -- mariadbd "$@"; fi
if [ "$1" = mariadbd ] && [ "$(id -u)" = 0 ]; then
    chown mysql "$data"
    exec gosu mysql "$0" "$@"
fi
if [ "$1" = mariadbd ]; then
    if [ ! -d "$data/mysql" ]; then
        root=${MYSQL_ROOT_PASSWORD:-${MYSQL_RANDOM_ROOT_PASSWORD:+$(head -c 18 /dev/urandom | base64)}}
        if [ -z "$root" ]; then
            echo "Error: Database is uninitialized and password option is not specified." >&2
            exit 1
        fi
        mariadb-install-db --datadir="$data" --auth-root-authentication-method=normal --skip-test-db >/dev/null
        # Run before any connection is let in.
        cat >"$data/first.sql" <<SQL
ALTER USER root@localhost IDENTIFIED BY '$root';
CREATE DATABASE \`$MYSQL_DATABASE\`;
CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';
GRANT ALL ON \`$MYSQL_DATABASE\`.* TO '$MYSQL_USER'@'%';
SQL
        set -- "$@" --init-file="$data/first.sql"
    fi
    set -- "$@" --socket="$data/mysql.sock" --bind-address=0.0.0.0
fi
exec "$@"
