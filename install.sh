#!/bin/sh
# install.sh - build stormcheck and install it, or try it without.
#
# One manifest says what goes where; install and uninstall both read it.
set -eu
umask 022
from=$PWD
cd "$(dirname "$0")"

usage='usage: ./install.sh --try
       ./install.sh [--prefix DIR] [--destdir DIR] [--cron] [--verbose]
       ./install.sh --uninstall [--prefix DIR] [--destdir DIR] [--verbose]'
PREFIX=${PREFIX:-/usr/local} DESTDIR=${DESTDIR:-} do=install cron='' verbose=''

die() {
	echo "install.sh: $1" >&2
	exit "${2:-1}"
}

while [ $# -gt 0 ]; do
	case $1 in
	--prefix | --destdir)
		[ $# -gt 1 ] || die "$1: needs a directory
$usage" 2
		if [ "$1" = --prefix ]; then PREFIX=$2; else DESTDIR=$2; fi
		shift
		;;
	--try) do=try ;;
	--uninstall) do=uninstall ;;
	--cron) cron=yes ;;
	--verbose) verbose=yes ;;
	-h | --help)
		echo "$usage"
		exit
		;;
	*) die "no option $1
$usage" 2 ;;
	esac
	shift
done
case $PREFIX in
*[!A-Za-z0-9/._+-]*) die "--prefix: $PREFIX: only letters, digits and / . _ + -, for it goes into scripts" 2 ;;
/*) ;;
*) die "--prefix: $PREFIX is not an absolute path" 2 ;;
esac

case $DESTDIR in
'' | /*) ;;
*) DESTDIR=$from/$DESTDIR ;;
esac

tools="procstat threshold mailarchive killstorm alertmail"

# Lines of kind, mode, source, destination. A conf is never overwritten, and stays
# when all else is removed; a cron line is conf that goes, for it would run what is
# no longer there.
manifest() {
	for tool in $tools stormcheck; do
		echo "file 755 build/$tool $PREFIX/bin/$tool"
		echo "file 644 man/$tool.8 $PREFIX/share/man/man8/$tool.8"
	done
	for page in storm.csv storm.limits; do
		echo "file 644 man/$page.5 $PREFIX/share/man/man5/$page.5"
	done
	echo "conf 644 pkg/threshold/limits.csv /etc/stormcheck/limits.csv"
	echo "conf 644 build/stormcheck.conf /etc/stormcheck/stormcheck.conf"
	echo "dir 700 - /var/lib/stormcheck/archive"
	echo "dir 755 - /var/lib/stormcheck"
	echo "cron 644 build/stormcheck.cron /etc/cron.d/stormcheck"
}

say() { [ -z "$verbose" ] || echo "$1"; }

# build makes everything that isn't installed as it lies here, below build/.
build() {
	# Go wants a place for its caches even where there is no home.
	[ -n "${HOME:-}" ] || export HOME="$PWD/build/home"
	need=$(sed -n 's/^go //p' go.mod)
	command -v go >/dev/null || die "Go $need or newer is needed (https://go.dev/dl); there is none in PATH"
	# Within the module this is the version that go.mod may have made go fetch.
	have=$(go env GOVERSION 2>/dev/null) || have=$(cd / && go env GOVERSION)
	minor=${have#go1.} least=${need#1.}
	[ "${minor%%[!0-9]*}" -ge "${least%%[!0-9]*}" ] 2>/dev/null ||
		die "Go $need or newer is needed (https://go.dev/dl); this is $have"

	version=$(git describe --tags --always --dirty 2>/dev/null) || version=unknown
	case $version in
	*[!A-Za-z0-9._+-]*) version=unknown ;; # a tag may hold what a script must not
	esac
	mkdir -p build
	for tool in $tools; do
		CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags urfave_cli_no_docs \
			-ldflags "-s -w -X stormcheck/pkg/filter.Version=$version" -o "build/$tool" "./cmd/$tool"
	done
	sed -e "s|^bin=.*|bin=$PREFIX/bin|" -e "s|^version=.*|version=$version|" cmd/stormcheck/stormcheck >build/stormcheck
	sed -e "s|/usr/local/bin/stormcheck|$PREFIX/bin/stormcheck|" cmd/stormcheck/stormcheck.cron >build/stormcheck.cron
	cp cmd/stormcheck/stormcheck.conf build/stormcheck.conf
}

# place MODE SOURCE DESTINATION: the file is whole under its name, or not there.
place() {
	mkdir -p "${3%/*}"
	cp "$2" "$3.new.$$"
	chmod "$1" "$3.new.$$"
	mv -f "$3.new.$$" "$3"
	say "installed $3"
}

install() {
	build
	manifest | while read -r kind mode source path; do
		path=$DESTDIR$path
		case $kind in
		file) place "$mode" "$source" "$path" ;;
		dir)
			[ -d "$path" ] && continue
			mkdir -p "$path"
			chmod "$mode" "$path"
			say "made $path"
			;;
		conf | cron)
			if [ "$kind" = cron ] && [ -z "$cron" ]; then
				continue
			elif [ -e "$path" ] || [ -h "$path" ]; then
				say "kept $path"
			else
				place "$mode" "$source" "$path"
			fi
			;;
		esac
	done
}

uninstall() {
	manifest | while read -r kind mode source path; do
		path=$DESTDIR$path
		[ -e "$path" ] || [ -h "$path" ] || continue
		case $kind in
		file | cron)
			rm -f "$path"
			say "removed $path"
			;;
		dir) if rmdir "$path" 2>/dev/null; then say "removed $path"; else echo "left $path"; fi ;;
		conf) echo "left $path" ;;
		esac
	done
}

# try runs the check on this machine, changing nothing, and shows what it saw: rows
# pass through a filter that keeps a copy.
try() {
	build
	mkdir -p build/bin build/archive
	chmod 700 build/archive
	for tool in $tools; do ln -sf "../$tool" "build/bin/$tool"; done
	printf '#!/bin/sh\nexec tee build/rows.csv\n' >build/bin/keep
	chmod 755 build/bin/keep
	sed -e 's|^bin=.*|bin=build/bin|' -e 's|^conf=.*|conf=build/none|' -e 's|^THRESHOLD=.*|THRESHOLD=--all|' \
		-e 's|^FILTERS=.*|FILTERS="mailarchive killstorm keep"|' \
		-e 's|^MAILARCHIVE=.*|MAILARCHIVE="--dir build/archive"|' build/stormcheck >build/try
	: >build/rows.csv
	status=0
	message=$(sh build/try --dry-run) || status=$?
	awk -F, '
		NR == 1 { header = $0; next }
		NR == 2 { host = $2; most = $6 " " $3 " " $5 }
		{ processes += $6; accounts += !seen[$3]++ }
		$11 != "" { due = due $0 "\n" }
		END {
			if (due != "")
				printf "%s\n%s\n", header, due
			else if (processes)
				printf "stormcheck: looked at %d processes of %d account%s on %s: no limit is reached (the most: %s)\n",
					processes, accounts, accounts == 1 ? "" : "s", host, most
		}' build/rows.csv
	[ -z "$message" ] || printf '%s\n' "$message"
	exit $status
}

$do
