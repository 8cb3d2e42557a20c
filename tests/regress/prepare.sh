#!/usr/bin/env bash
# Fetches the Debian source package of the installed PostgreSQL server, in the server's own version, and builds of it
# what the regression suite needs: pg_regress, its libraries for the server, and libpq_pipeline. Prints the folder of
# the built tree on stdout, all else on stderr.
#
# All of it lies in the user's cache folder and is used again. The system's list of sources is not changed: apt-get gets
# one of its own, so that this works for any user.
set -euo pipefail

cache="${XDG_CACHE_HOME:-$HOME/.cache}/postern/regress"

die() {
    echo "regress: $*" >&2
    exit 1
}

# Installs the Debian packages, or says that they are missing.
need_packages() {
    if [ "$(id -u)" != 0 ]; then
        die "missing, by the names of Debian's packages: $*. Get them with: sudo apt-get install $*"
    fi
    echo "regress: installing $*" >&2
    {
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" || {
            apt-get update -q
            DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
        }
    } >&2
}

# Runs a step with its output in a log, whose end is shown if it fails.
step() {
    local what="$1" log="$work/$2.log"
    shift 2
    echo "regress: $what" >&2
    "$@" >"$log" 2>&1 || {
        tail -n 30 "$log" >&2
        die "failed: $what"
    }
}

# A copy of the system's lists of packages that asks for the sources instead.
source_lists() {
    local file
    mkdir -p "$work/apt/sources" "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -e "$file" ] || continue
        sed -n 's/^deb /deb-src /p' "$file" >"$work/apt/sources/$(basename "$file" .list).list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] || continue
        sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/apt/sources/$(basename "$file")"
    done
}

apt_sources() {
    apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/apt/sources" \
        -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" "$@"
}

fetch() {
    source_lists
    # A repository without sources makes this fail, which does no harm: what counts is the next line.
    apt_sources update || true
    (cd "$work" && apt_sources source --download-only "$package=$version")
}

# Joined by &&, since `set -e` does not hold in what `||` follows.
build() {
    dpkg-source -x "$work"/*.dsc "$work/source" &&
        cd "$work/source" &&
        # What is loaded into the server, or runs beside it, uses none of these; without them less needs installing.
        ./configure --prefix="/usr/lib/postgresql/$major" --without-readline --without-zlib --without-icu --disable-rpath &&
        make -j"$(nproc)" -C src/backend generated-headers &&
        make -j"$(nproc)" -C src/port &&
        make -j"$(nproc)" -C src/common &&
        make -j"$(nproc)" -C src/interfaces/libpq &&
        make -j"$(nproc)" -C src/test/regress all &&
        make -C src/test/modules/libpq_pipeline libpq_pipeline
}

command -v dpkg-query >/dev/null || die "needs a Debian system: the suite comes from its source package"
server="$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)"
[ -n "$server" ] || die "no PostgreSQL server is installed: run \`make setup\`"
major="$(basename "$(dirname "$(dirname "$server")")")"
package="postgresql-$major"
version="$(dpkg-query -W -f '${source:Version}' "$package")"

built="$cache/$package-$version"
if [ ! -e "$built/complete" ]; then
    missing=()
    command -v cc >/dev/null && command -v make >/dev/null || missing+=(build-essential)
    command -v dpkg-source >/dev/null || missing+=(dpkg-dev)
    [ "${#missing[@]}" = 0 ] || need_packages "${missing[@]}"

    mkdir -p "$cache"
    work="$(mktemp -d "$cache/under-way.XXXXXX")"
    trap 'rm -rf "$work"' EXIT
    step "fetching the source of $package $version" fetch fetch
    step "building it" build build
    rm -rf "$work/apt"
    touch "$work/complete"
    rm -rf "$built"
    mv "$work" "$built"
fi
echo "$built/source"
