#!/bin/sh
# Mutual TLS for a cluster: a certificate authority of its own, and a certificate for each of its parts.
# usage: deploy/certificates.sh FOLDER NAME...   NAME is also the host name that others call it by
set -eu
folder=$1
shift
umask 077
mkdir -p "$folder"
cd "$folder"
if [ ! -f ca.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
        -subj "/CN=iwae cluster" -keyout ca.key -out ca.pem
fi
for name in "$@"; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$name.key" -out "$name.csr"
    printf 'subjectAltName=DNS:%s\n' "$name" >"$name.ext"
    openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 825 -extfile "$name.ext" -out "$name.pem"
    rm "$name.csr" "$name.ext"
done
chmod 644 ./*.pem
