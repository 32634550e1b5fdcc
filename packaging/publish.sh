#!/usr/bin/env bash
# The last step of the forge's release workflow: signs what the draft of the release has by then, and
# publishes it. Nothing is built and nothing of it is run beside the key.
#
#   SIGNING_KEY='an OpenPGP key, armoured, without a passphrase' packaging/publish.sh TAG
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly tag=${1:?a tag}

GNUPGHOME=$(mktemp -d)
export GNUPGHOME
trap 'rm -rf "$GNUPGHOME"' EXIT
gpg --batch --quiet --import <<<"${SIGNING_KEY:?the secret SIGNING_KEY is not set}"
unset SIGNING_KEY
key=$(gpg --batch --list-secret-keys --with-colons | awk -F: '/^fpr/ && !found++ { print $10 }')

mkdir -p target/publish
gh release download "$tag" --dir target/publish
cd target/publish
# Debian's rpm looks for a gpg2 that Debian no longer has.
rpm --define "__gpg $(command -v gpg)" --define "_gpg_name $key" --addsign ./*.rpm
gpg --armor --export "$key" >connage-signing-key.asc
sha256sum -- *.deb *.rpm *.tar.gz *.whl *.cdx.json >SHA256SUMS
gpg --batch --yes --armor --detach-sign --local-user "$key" SHA256SUMS
gh release upload "$tag" --clobber -- *.rpm SHA256SUMS SHA256SUMS.asc connage-signing-key.asc
gh release edit "$tag" --draft=false
