#!/bin/sh
# Write .env with a random secret for each name in .env.example. What stands there already is kept.
set -eu
cd "$(dirname "$0")"
umask 077
touch .env
while IFS='=' read -r name _; do
    case $name in '' | \#*) continue ;; esac
    if ! grep -q "^$name=." .env; then
        printf '%s=%s\n' "$name" "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >> .env
    fi
done < .env.example
echo "secrets are in $(pwd)/.env; sign in to observe with OBSERVE_ADMIN_TOKEN, to Grafana as admin with GRAFANA_PASSWORD"
