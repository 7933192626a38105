#compdef procstat threshold mailarchive killstorm alertmail stormplot stormcheck
# Completions of stormcheck's commands, from their flags. Made by
#	go test ./cmd -run TestCompletions -update
case $service in
procstat)
	_arguments \
		'(--min)--min[only rows of N processes or more (default 1)]:N:' \
		'(--total)--total[also a row for all processes of each user, with proc *]' \
		'(--host)--host[NAME in the host column (default: this machine'\''s node name)]:NAME:' \
		'(--input)--input[take the text of ps from FILE, - for standard input; needs --host]:FILE:_files' \
		'(--titles)--titles[read process titles as the table in FILE says (default /etc/stormcheck/titles.csv if it exists)]:FILE:_files' \
		'(--every)--every[a snapshot each DUR, until a signal ends it]:DUR:' \
		'(--churn)--churn[with --every, count the processes started in the last minute, dead or alive]' \
		'(--metrics)--metrics[write counts for node_exporter'\''s textfile collector to FILE]:FILE:_files' \
		'(--no-realtime)--no-realtime[with --every, run at the priority that it was started with]' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
threshold)
	_arguments \
		'(--limits)--limits[the table of limits is in FILE (default /etc/stormcheck/limits.d/*.csv and /etc/stormcheck/limits.csv, or else the built-in table)]:FILE:_files' \
		'(--all)--all[pass rows that reach no limit too, with empty actions]' \
		'(--explain)--explain[print to stderr which limits row decides on each row, and how far the next limit is]' \
		'(--log)--log[append the rows that reach the limit log to FILE]:FILE:_files' \
		'(--dry-run -n)--dry-run[write no log]' \
		'(--dry-run -n)-n[write no log]' \
		'(--print-limits)--print-limits[print the table in force and where each row comes from, and end]' \
		'(--check)--check[report every fault of the table, warn about likely mistakes, and end]' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
mailarchive)
	_arguments \
		'(--dir)--dir[make copies in DIR (default /var/lib/stormcheck/archive)]:DIR:_files' \
		'*--mailbox[a mailbox is PATH, with {user}, {user:N}, {name}, {domain} or {home} in it (default /var/mail/{user} and /var/mail/.{user}.pop)]:PATH:_files' \
		'(--lock-timeout)--lock-timeout[wait for a lock for DUR (default 10s)]:DUR:' \
		'(--timeout)--timeout[give up on a row after DUR (default 1m)]:DUR:' \
		'(--again-after)--again-after[don'\''t copy a changed mailbox again within DUR (default 10m)]:DUR:' \
		'(--keep)--keep[keep N copies of a mailbox and the first of this storm (default 10; 0: all)]:N:' \
		'(--keep-for)--keep-for[remove copies and evidence older than DUR (default 0: never)]:DUR:' \
		'(--max-size)--max-size[refuse a mailbox larger than SIZE (default 0: as large as fits)]:SIZE:' \
		'(--fair-size)--fair-size[let one account'\''s copies take SIZE of the archive'\''s file system (default 25%; 0: any)]:SIZE:' \
		'(--min-free)--min-free[leave SIZE of the archive'\''s file system free (default 5%)]:SIZE:' \
		'(--host)--host[act on the rows of host NAME (default: this machine'\''s node name)]:NAME:' \
		'(--dry-run -n)--dry-run[copy nothing, note what would be copied]' \
		'(--dry-run -n)-n[copy nothing, note what would be copied]' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
killstorm)
	_arguments \
		'(--signal)--signal[send SIG first, and KILL to what is left after the grace (default KILL)]:SIG:' \
		'(--grace)--grace[wait DUR for processes to follow --signal (default 5s)]:DUR:' \
		'(--timeout)--timeout[give up on a row after DUR (default 30s)]:DUR:' \
		'(--trim-age)--trim-age[trim only processes that are at least DUR old (default 10m)]:DUR:' \
		'(--max)--max[refuse a row of more than N live processes]:N:' \
		'*--protect[never touch processes of USER, a name or a uid]:USER:' \
		'(--allow-root)--allow-root[end root'\''s processes, too]' \
		'(--allow-system)--allow-system[end those of system accounts, too, which may serve all users]' \
		'(--allow-own-containers)--allow-own-containers[end processes in containers that their account made, too]' \
		'(--require-archive)--require-archive[don'\''t kill if the mailbox copy failed for space or I/O]' \
		'*--hold[lock the mailbox PATH, with {user}, {name}, {domain} or {home} in it (default /var/mail/{user})]:PATH:_files' \
		'(--hold-timeout)--hold-timeout[wait DUR for that lock (default 3s)]:DUR:' \
		'(--titles)--titles[read process titles as the table FILE says (default /etc/stormcheck/titles.csv if it exists)]:FILE:_files' \
		'*--unless-changed[begin no kill if PATH has changed since the start, or, as PATH@FINGERPRINT, differs from the fingerprint]:PATH:_files' \
		'(--evidence)--evidence[write to directory DIR what is known of a storm before it ends]:DIR:_files' \
		'(--pause)--pause[leave alone what FILE says is paused]:FILE:_files' \
		'(--no-realtime)--no-realtime[run at normal priority]' \
		'(--host)--host[act on the rows of host NAME (default: this machine'\''s node name)]:NAME:' \
		'(--dry-run -n)--dry-run[signal nothing, note what would end]' \
		'(--dry-run -n)-n[signal nothing, note what would end]' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
alertmail)
	_arguments \
		'*--to[mail the message to ADDR; repeatable (default: print it)]:ADDR:' \
		'*--page-to[mail one short line about rows with the action page to ADDR; repeatable]:ADDR:' \
		'(--from)--from[sender ADDR (default: the mailer'\''s)]:ADDR:' \
		'(--each)--each[a message at each snapshot'\''s end, not one at the end of input]' \
		'(--title)--title[TEXT above the message (default STORM ALERT)]:TEXT:' \
		'(--level)--level[one LEVEL of emergency, urgent, critical, error, warning, notice, info, debug (default: by the actions)]:LEVEL:' \
		'(--name)--name[NAME of the check (default stormcheck)]:NAME:' \
		'(--task)--task[TEXT that says what the check does]:TEXT:' \
		'(--sendmail)--sendmail[mailer at PATH (default /usr/sbin/sendmail)]:PATH:_files' \
		'*--alertmanager[post each row to the Alertmanager at URL; repeatable, for a cluster]:URL:' \
		'(--alertmanager-token-file)--alertmanager-token-file[a bearer token for it is in FILE]:FILE:_files' \
		'(--alertmanager-ca-file)--alertmanager-ca-file[its certificate is signed by one in FILE]:FILE:_files' \
		'(--state)--state[remember in FILE what has been reported, and report only news]:FILE:_files' \
		'(--repeat)--repeat[with --state: repeat a storm that lasts each DUR (default after 1h, 4h, then daily; 0: in every run)]:DUR:' \
		'(--after)--after[with --state: report what was there in N runs in a row (default 1)]:N:' \
		'(--over-after)--over-after[with --state: a storm is over after N runs without it (default 5)]:N:' \
		'(--owner-to)--owner-to[with --state: mail the owner of an account whose processes were ended, at ADDR with {user}, or {name} and {domain}, in it]:ADDR:' \
		'(--owner-reply-to)--owner-reply-to[the owner'\''s questions go to ADDR]:ADDR:' \
		'(--owner-text)--owner-text[the owner'\''s mail is the text in FILE]:FILE:_files' \
		'*--context[show lines about each row from SOURCE, a log file or journal; repeatable]:SOURCE:' \
		'(--context-window)--context-window[show lines of the last DUR (default 10m)]:DUR:' \
		'(--metrics)--metrics[keep counters for node_exporter'\''s textfile collector in FILE]:FILE:_files' \
		'(--log)--log[append all rows to FILE]:FILE:_files' \
		'(--test)--test[send a test by mail, page and Alertmanager, and print which accepted it; reads no rows]' \
		'(--dry-run -n)--dry-run[print what would be sent, log and remember nothing]' \
		'(--dry-run -n)-n[print what would be sent, log and remember nothing]' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
stormplot)
	_arguments \
		'(--since)--since[draw from WHEN to now, a duration such as 36h or a date such as 2026-11-01 (default: from the first row to the last)]:WHEN:' \
		'(--user)--user[draw accounts that match GLOB]:GLOB:' \
		'(--proc)--proc[draw process names that match GLOB]:GLOB:' \
		'(--top)--top[draw the N worst pairs of account and name (default 10)]:N:' \
		'(--heat)--heat[draw the hours of the week in which storms come]' \
		'(--svg)--svg[write an SVG file, not text]' \
		'(--runs)--runs[draw as unknown the time without runs in FILE and its rotated files]:FILE:_files' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
stormcheck)
	_arguments \
		'(--dry-run -n)--dry-run[touch nothing, show what would be done]' \
		'(--dry-run -n)-n[touch nothing, show what would be done]' \
		'(--delay)--delay[begin DUR after the start of this process, at most 1m]:DUR:' \
		'(--every)--every[keep the pipe ready, and look each DUR]:DUR:' \
		'(--check)--check[check each thing that a run needs]' \
		'(--status)--status[show whether storms are ended, the last run, and what was done]' \
		'(--test-alert)--test-alert[send a test alert by mail, page and Alertmanager, and print which accepted it]' \
		'(--end)--end[archive and end the processes USER/PROC now, whatever the limits say]:USER/PROC:' \
		'(--yes)--yes[with --end: don'\''t ask]' \
		'(--pause)--pause[end nothing, or nothing of USER/PROC, for DUR, at most 24h]:DUR:' \
		'(--resume)--resume[forget what is paused]' \
		'(--help -h)--help[print this help]' \
		'(--help -h)-h[print this help]' \
		'(--version)--version[print the version]'
	;;
esac
