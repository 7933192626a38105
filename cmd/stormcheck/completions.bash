# Completions of stormcheck's commands, from their flags. Made by
#	go test ./cmd -run TestCompletions -update
# shellcheck shell=bash
_stormcheck() {
	local flags=''
	case ${1##*/} in
	procstat) flags='--min --total --host --input --titles --every --churn --metrics --no-realtime --help -h --version' ;;
	threshold) flags='--limits --all --explain --log --dry-run -n --print-limits --check --help -h --version' ;;
	mailarchive) flags='--dir --mailbox --lock-timeout --timeout --again-after --keep --keep-for --max-size --fair-size --min-free --host --dry-run -n --help -h --version' ;;
	killstorm) flags='--signal --grace --timeout --trim-age --max --protect --allow-root --allow-system --allow-own-containers --require-archive --hold --hold-timeout --titles --unless-changed --evidence --pause --no-realtime --host --dry-run -n --help -h --version' ;;
	alertmail) flags='--to --page-to --from --each --title --level --name --task --sendmail --alertmanager --alertmanager-token-file --alertmanager-ca-file --state --repeat --after --over-after --owner-to --owner-reply-to --owner-text --context --context-window --metrics --log --test --dry-run -n --help -h --version' ;;
	stormplot) flags='--since --user --proc --top --heat --svg --runs --help -h --version' ;;
	stormcheck) flags='--dry-run -n --delay --every --check --status --test-alert --end --yes --pause --resume --help -h --version' ;;
	esac
	COMPREPLY=()
	[[ $2 != -* ]] || mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$2")
}
complete -o default -F _stormcheck procstat threshold mailarchive killstorm alertmail stormplot stormcheck
