#!/bin/sh
# install.sh - build stormcheck and install it, or try it without.
#
# One manifest says what goes where; install, uninstall and packages all read it.
set -eu
umask 022
from=$PWD
cd "$(dirname "$0")"

usage='usage: ./install.sh --try
       ./install.sh [--prefix DIR] [--destdir DIR] [--cron | --systemd] [--verbose]
       ./install.sh --uninstall [--prefix DIR] [--destdir DIR] [--verbose]
       ./install.sh --packages'
help="$usage

  --try          build, check this machine, show a recorded storm; change nothing
  --prefix DIR   install commands and pages below DIR (default /usr/local)
  --destdir DIR  put DIR before every path, as for a package
  --cron         also install /etc/cron.d/stormcheck, which runs it each minute
  --systemd      also install the units, and start the timer
  --uninstall    remove what was installed, and name what is left
  --packages     build .deb and .rpm packages in build/packages
  --verbose      print each file"
PREFIX=${PREFIX:-/usr/local} DESTDIR=${DESTDIR:-} do='' by='' verbose=''

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
	--try | --uninstall | --packages | --compile | --compile_trial | --make_packages)
		[ -z "$do" ] || die "--$do and $1 can't be used together
$usage" 2
		do=${1#--}
		;;
	--cron | --systemd)
		[ -z "$by" ] || die "--$by and $1 can't be used together
$usage" 2
		by=${1#--}
		;;
	--verbose) verbose=yes ;;
	-h | --help)
		echo "$help"
		exit
		;;
	-*) die "no option $1
$usage" 2 ;;
	*) die "operand $1: only options are taken
$usage" 2 ;;
	esac
	shift
done
[ -z "$do" ] || [ -z "$by" ] || die "--$do and --$by can't be used together
$usage" 2
do=${do:-install}
case $PREFIX in
*[!A-Za-z0-9/._+-]*) die "--prefix: $PREFIX: only letters, digits and / . _ + -, for it goes into scripts" 2 ;;
/*) ;;
*) die "--prefix: $PREFIX is not an absolute path" 2 ;;
esac

case $DESTDIR in
'' | /*) ;;
*) DESTDIR=$from/$DESTDIR ;;
esac

tools="procstat threshold mailarchive killstorm alertmail stormplot stormcheck"
out=build                        # where what is built goes
units=/etc/systemd/system        # where systemd looks for what the machine's administrator has installed
zsh=share/zsh/site-functions     # below PREFIX; Debian's packages have another

# Lines of kind, mode, source, destination. A conf is never overwritten, and stays
# when all else is removed, as do logs that aren't empty. What runs stormcheck goes:
# there is nothing left to run.
manifest() {
	for tool in $tools; do
		echo "file 755 $out/$tool $PREFIX/bin/$tool"
		echo "file 644 man/$tool.8 $PREFIX/share/man/man8/$tool.8"
		echo "file 644 cmd/stormcheck/completions.bash $PREFIX/share/bash-completion/completions/$tool"
		echo "file 644 cmd/stormcheck/completions.fish $PREFIX/share/fish/vendor_completions.d/$tool.fish"
	done
	echo "file 644 cmd/stormcheck/completions.zsh $PREFIX/$zsh/_stormcheck"
	for page in man/*.[57]; do
		section=${page##*.}
		echo "file 644 $page $PREFIX/share/man/man$section/${page#man/}"
	done
	for rules in stormcheck.rules stormcheck-test.rules; do
		echo "file 644 cmd/stormcheck/$rules $PREFIX/share/stormcheck/$rules"
	done
	echo "file 644 cmd/stormcheck/churn.conf $PREFIX/share/stormcheck/churn.conf"
	echo "conf 644 pkg/threshold/limits.csv /etc/stormcheck/limits.csv"
	echo "conf 644 pkg/titles/titles.csv /etc/stormcheck/titles.csv"
	echo "conf 644 cmd/stormcheck/stormcheck.conf /etc/stormcheck/stormcheck.conf"
	echo "conf 644 cmd/stormcheck/stormcheck.logrotate /etc/logrotate.d/stormcheck"
	echo "log 600 - /var/lib/stormcheck/log.csv"
	echo "log 600 - /var/lib/stormcheck/done.csv"
	echo "dir 700 - /var/lib/stormcheck/archive"
	echo "dir 755 - /var/lib/stormcheck"
	echo "dir 755 - /etc/stormcheck/limits.d"
	echo "dir 755 - /etc/stormcheck"
	echo "cron 644 $out/stormcheck.cron /etc/cron.d/stormcheck"
	for unit in stormcheck.service stormcheck.timer stormcheck-standing.service; do
		echo "systemd 644 $out/$unit $units/$unit"
	done
	echo "systemd 644 cmd/stormcheck/stormcheck.tmpfiles $PREFIX/lib/tmpfiles.d/stormcheck.conf"
}

say() { [ -z "$verbose" ] || echo "$1"; }

# build makes everything that isn't installed as it lies here, below $out.
build() { as_owner compile; }

# as_owner FUNCTION: in somebody's clone root has it done by the clone's owner: git
# tells the version to nobody else, and nothing of root's is left there.
as_owner() {
	owner=$(stat -c %u . 2>/dev/null) || owner=0
	if [ "$(id -u)" -ne 0 ] || [ "$owner" -eq 0 ] || ! command -v setpriv >/dev/null; then
		"$1"
		return
	fi
	home=$(getent passwd "$owner" | cut -d : -f 6)
	setpriv --reuid "$owner" --regid "$(stat -c %g .)" --clear-groups \
		env HOME="$home" PREFIX="$PREFIX" ./install.sh "--$1"
}

compile() {
	# Go wants a place for its caches even where there is no home.
	[ -n "${HOME:-}" ] || export HOME="$PWD/build/home"
	need=$(sed -n 's/^go //p' go.mod)
	command -v go >/dev/null || die "Go $need or newer is needed (https://go.dev/dl); there is none in PATH"
	# Within the module this is the version that go.mod may have made go fetch.
	have=$(go env GOVERSION 2>/dev/null) || have=$(cd / && go env GOVERSION)
	minor=${have#go1.} least=${need#1.}
	[ "${minor%%[!0-9]*}" -ge "${least%%[!0-9]*}" ] 2>/dev/null ||
		die "Go $need or newer is needed (https://go.dev/dl); this is $have"

	mkdir -p "$out"
	version=$(version)
	for tool in $tools; do compile_tool "$tool" "$out/$tool" "-X stormcheck/pkg/stormcheck.BinDir=$PREFIX/bin"; done
	for scheduler in stormcheck.cron stormcheck.service stormcheck.timer stormcheck-standing.service; do
		sed -e "s|/usr/local/bin/stormcheck|$PREFIX/bin/stormcheck|g" "cmd/stormcheck/$scheduler" >"$out/$scheduler"
	done
}

# compile_tool TOOL PATH FLAGS: FLAGS are the linker's. A tool that has to start in a storm
# begins in pkg/first, before the Go runtime.
compile_tool() {
	entry=
	if grep -q '^	_ "stormcheck/pkg/first"$' "cmd/$1/main.go" && [ -e "pkg/first/entry_$(go env GOOS)_$(go env GOARCH).s" ]; then
		entry='-E stormcheck/pkg/first.start'
	fi
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags urfave_cli_no_docs \
		-ldflags "-s -w $entry -X stormcheck/pkg/filter.Version=$version $3" -o "$2" "./cmd/$1"
}

# version prints the version of the changelog, its only place. Between releases it is
# less than the one that comes, and more than that of each commit before.
version() {
	version=$(sed -n '1s/.*(\(.*\)).*/\1/p' cmd/stormcheck/package/changelog)
	tag=$(git describe --exact-match --tags --dirty 2>/dev/null) || tag=''
	commit=$(TZ=UTC0 git log -1 --date=format-local:%Y%m%d%H%M%S --format=%cd.%h --abbrev=12 2>/dev/null) || commit=''
	case $tag,$commit in
	"v$version",* | ,) ;; # a release, or its sources without a repository
	*) version=$version~dev.$commit ;;
	esac
	[ -z "$commit" ] || git diff --quiet HEAD 2>/dev/null || version=$version.dirty
	echo "$version"
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
	top=$DESTDIR$PREFIX
	until [ -e "$top" ]; do top=${top%/*}; top=${top:-/}; done
	[ -w "$top" ] || die "$top: $(id -un) can't write there: run it as root, or give --prefix and --destdir"
	settings=$DESTDIR/etc/stormcheck/stormcheck.conf
	if [ -e "$settings" ]; then
		as_owner compile_trial
		check_settings "$settings"
	else
		build
	fi
	manifest | while read -r kind mode source path; do
		path=$DESTDIR$path
		case $kind in
		cron | systemd) [ "$kind" = "$by" ] || continue ;;
		esac
		case $kind in
		file | systemd) place "$mode" "$source" "$path" ;;
		dir)
			[ ! -d "$path" ] || continue
			mkdir -p "$path"
			chmod "$mode" "$path"
			say "made $path"
			;;
		log | conf | cron)
			if [ -e "$path" ] || [ -h "$path" ]; then
				say "kept $path"
			elif [ "$kind" = log ]; then
				place "$mode" /dev/null "$path"
			else
				place "$mode" "$source" "$path"
			fi
			;;
		esac
	done
	[ "$by" != systemd ] || start_timer
	[ "$by" != cron ] || echo "next: stormcheck --check"
}

# check_settings PATH stops if the settings in it, which may be of an older version,
# are unfit for this one.
check_settings() {
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	cp "$1" "$scratch/conf"
	cp "$out/trial" "$scratch"
	# There are no filters beside it, so what else it finds doesn't count.
	faults=$(cd "$scratch" && ./trial --check 2>/dev/null | sed -n "s|^wrong *settings: conf:|$1:|p; s|^wrong *settings: |$1: |p") || :
	[ -z "$faults" ] || die "the settings are unfit for this version; nothing is changed
$faults"
}

# start_timer has systemd look each minute, where there is one to tell.
start_timer() {
	if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
		systemctl daemon-reload
		systemctl enable --now stormcheck.timer
	else
		echo "then: systemctl daemon-reload; systemctl enable --now stormcheck.timer"
	fi
	[ ! -e "$DESTDIR/etc/cron.d/stormcheck" ] || echo "left $DESTDIR/etc/cron.d/stormcheck: cron runs stormcheck too"
}

# uninstall removes what install made. What belongs to a package stays: without it
# that package would be broken, and only its manager removes all of it.
uninstall() {
	packaged=''
	[ -n "$DESTDIR" ] || packaged=$(packaged)
	if [ -z "$DESTDIR$packaged" ] && [ -d /run/systemd/system ] && [ -e "$units/stormcheck.timer" ]; then
		systemctl disable --now stormcheck.timer stormcheck-standing.service
	fi
	manifest | while read -r kind _ _ path; do
		owned=$path
		[ "$kind" != log ] || owned=${path%/*} # made by the package's script
		if is_packaged "$owned"; then
			say "kept $path: of a package"
			continue
		fi
		path=$DESTDIR$path
		[ -e "$path" ] || [ -h "$path" ] || continue
		case $kind in
		file | cron | systemd)
			rm -f "$path"
			say "removed $path"
			sweep "${path%/*}"
			;;
		log) if [ -s "$path" ]; then echo "left $path"; else rm -f "$path"; fi ;;
		dir) if rmdir "$path" 2>/dev/null; then say "removed $path"; else echo "left $path"; fi ;;
		conf) echo "left $path" ;;
		esac
	done
	if [ -n "$packaged" ]; then
		echo "left the files of the package stormcheck: apt-get remove stormcheck, or dnf remove stormcheck, removes them"
		[ ! -d /run/systemd/system ] || systemctl daemon-reload
		return
	fi
	for path in "$DESTDIR"/var/lib/stormcheck/*; do
		case $path in
		*/log.csv | */done.csv | */archive | *'/*') ;;
		*) echo "left $path" ;;
		esac
	done
	[ -n "$DESTDIR" ] || rm -rf /run/stormcheck
}

# packaged prints what the package of that name has installed, a path a line.
packaged() {
	dpkg-query -L stormcheck 2>/dev/null || :
	rpm -ql stormcheck 2>/dev/null | grep ^/ || :
}

is_packaged() { printf '%s\n' "$packaged" | grep -qxF -- "$1"; }

# sweep DIR removes directories for pages and completions that nobody needs now.
sweep() {
	dir=$1
	while case $dir in "$DESTDIR$PREFIX/share"/*) ;; *) false ;; esac && rmdir "$dir" 2>/dev/null; do
		say "removed $dir"
		dir=${dir%/*}
	done
}

# try shows the check of this machine as it is, and the mail about a recorded storm. It
# changes nothing.
try() {
	echo "building, a minute or two at first ..." >&2
	as_owner compile_trial
	here=$PWD
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	mkdir "$scratch/bin" "$scratch/archive"
	for tool in $tools; do cp "$out/$tool" "$scratch/bin"; done
	cp "$out/trial" "$scratch"
	printf 'TO=\nMAILARCHIVE="--dir archive"\nALERTMAIL=\n' >"$scratch/conf"
	cd "$scratch"
	echo "This machine, nothing touched:"
	./trial --dry-run
	cat <<-END

		The processes that a mail server had in April 2000, compared with today's limits,
		and the mail about them. Nothing is archived or killed here, so it names no kill:

	END
	PATH=$scratch/bin:$PATH
	procstat --host moscow --input "$here/testdata/ps/incident.txt" | threshold | alertmail --to root --dry-run
	cat <<-END

		Try the filters next:
		    PATH=$here/$out:\$PATH
		    procstat | threshold --all
		    man -l man/stormcheck.8
		stormcheck itself finds no filters before they are installed: its --check prints "wrong".
	END
}

# compile_trial makes a stormcheck whose filters and conf lie where it is run.
compile_trial() {
	compile
	compile_tool stormcheck "$out/trial" "-X stormcheck/pkg/stormcheck.BinDir=bin -X stormcheck/pkg/stormcheck.Conf=conf"
}

# make_packages makes .deb and .rpm in build/packages, of static binaries for amd64 and
# arm64, with an SBOM and checksums. The same commit gives the same bytes. nfpm is a Go
# module, and needs none of Debian's or Red Hat's tools.
make_packages() {
	PREFIX=/usr units=/usr/lib/systemd/system
	VERSION=$(version)
	SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null) ||
		SOURCE_DATE_EPOCH=$(date -d "$(sed -n 's/^ -- .*>  //p' cmd/stormcheck/package/changelog | head -n 1)" +%s)
	export VERSION SOURCE_DATE_EPOCH
	rm -rf build/packages
	mkdir -p build/packages
	for ARCH in amd64 arm64; do
		out=build/$ARCH
		export ARCH
		(
			export GOOS=linux GOARCH="$ARCH"
			compile
		)
		documents
		for format in deb rpm; do
			contents $format >"$out/$format.yaml"
			go run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.44.0 \
				package --config "$out/$format.yaml" --packager $format --target build/packages >"$out/nfpm.log" ||
				die "nfpm: $(cat "$out/nfpm.log")"
		done
	done
	cp build/amd64/sbom.json "build/packages/stormcheck_$VERSION.cdx.json"
	(cd build/packages && sha256sum -- * >../SHA256SUMS && mv ../SHA256SUMS .)
	ls build/packages/*
}

# documents makes what only packages have: pages compressed, the changelog, what has to
# be changed after an upgrade, and what is linked into the tools, with its licenses.
documents() {
	mkdir -p "$out/man"
	for page in man/*; do gzip -9nc "$page" >"$out/$page.gz"; done
	for text in changelog NEWS; do sed "1s/(.*)/($VERSION)/" cmd/stormcheck/package/$text | gzip -9n >"$out/$text.gz"; done
	mv "$out/NEWS.gz" "$out/NEWS.Debian.gz"
	built=''
	for tool in $tools; do built="$built $out/$tool"; done
	# shellcheck disable=SC2086 # names without spaces
	for document in copyright sbom.json; do
		go run cmd/stormcheck/package/linked.go "$document" $built >"$out/$document"
	done
}

# contents FORMAT prints nfpm's configuration: nfpm.yaml, and the manifest in its words.
contents() {
	zsh=share/zsh/site-functions
	[ "$1" = rpm ] || zsh=share/zsh/vendor-completions
	made=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
	echo "mtime: $made"
	cat cmd/stormcheck/nfpm.yaml
	manifest | while read -r kind mode source path; do
		type=''
		case $kind,$path in
		log,* | dir,/etc/stormcheck) continue ;;
		conf,* | cron,*) type='config|noreplace' ;;
		dir,*) type=dir ;;
		*/man/*) source=$out/$source.gz path=$path.gz ;;
		esac
		printf -- '- dst: %s\n' "$path"
		[ "$source" = - ] || printf '  src: %s\n' "$source"
		[ -z "$type" ] || printf '  type: %s\n' "$type"
		printf '  file_info: {mode: 0%s, mtime: "%s"}\n' "$mode" "$made"
	done
	for file in $out/copyright $out/changelog.gz $out/NEWS.Debian.gz cmd/stormcheck/package/lintian; do
		case $1,$file in
		rpm,*/lintian) continue ;;
		rpm,*/NEWS.Debian.gz) path=doc/stormcheck/NEWS.gz ;;
		*/lintian) path=lintian/overrides/stormcheck ;;
		*) path=doc/stormcheck/${file##*/} ;;
		esac
		printf -- '- {src: %s, dst: /usr/share/%s, file_info: {mode: 0644, mtime: "%s"}}\n' "$file" "$path" "$made"
	done
}

case $do in
packages) as_owner make_packages ;;
*) $do ;;
esac
