#!/usr/bin/env bash
# The last step of the forge's release workflow: signs the packages in target/package, and what the
# draft has by then, and publishes them.
#
#   SIGNING_KEY='an OpenPGP key, armoured, without a passphrase' packaging/publish.sh TAG
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly tag=${1:?a tag}

GNUPGHOME=$(mktemp -d)
export GNUPGHOME
trap 'rm -rf "$GNUPGHOME"' EXIT
gpg --batch --quiet --import <<<"${SIGNING_KEY:?the secret SIGNING_KEY is not set}"
key=$(gpg --batch --list-secret-keys --with-colons | awk -F: '/^fpr/ { print $10; exit }')

gh release download "$tag" --pattern '*-musl.tar.gz' --dir target/package
cd target/package
rpm --define "_gpg_name $key" --addsign ./*.rpm
gpg --armor --export "$key" >connage-signing-key.asc
sha256sum -- *.deb *.rpm *.tar.gz *.whl *.cdx.json >SHA256SUMS
gpg --batch --armor --detach-sign --local-user "$key" SHA256SUMS
gh release upload "$tag" -- *.deb *.rpm *.tar.gz *.whl *.cdx.json SHA256SUMS SHA256SUMS.asc connage-signing-key.asc
gh release edit "$tag" --draft=false
