# Completions of stormcheck's commands, from their flags. Made by
#	go test ./cmd -run TestCompletions -update

complete -c procstat -f
complete -c procstat -l min -x -d 'only rows of N processes or more (default 1)'
complete -c procstat -l total -d 'also a row for all processes of each user, with proc *'
complete -c procstat -l host -x -d 'NAME in the host column (default: this machine\'s node name)'
complete -c procstat -l input -r -F -d 'take the text of ps from FILE, - for standard input; needs --host'
complete -c procstat -l every -x -d 'a snapshot each DUR, until told to end'
complete -c procstat -l no-realtime -d 'with --every, run at the priority that it was started with'
complete -c procstat -l help -s h -d 'print this help'
complete -c procstat -l version -d 'print the version'

complete -c threshold -f
complete -c threshold -l limits -r -F -d 'the table of limits is in FILE (default /etc/stormcheck/limits.csv where it exists, else built in)'
complete -c threshold -l all -d 'pass rows that reach no limit too, with empty actions'
complete -c threshold -l log -r -F -d 'append the rows that reach the limit log to FILE too'
complete -c threshold -l dry-run -s n -d 'write no log'
complete -c threshold -l print-limits -d 'print the table in force, and end'
complete -c threshold -l check -d 'report every fault of the table, and end'
complete -c threshold -l help -s h -d 'print this help'
complete -c threshold -l version -d 'print the version'

complete -c mailarchive -f
complete -c mailarchive -l dir -r -F -d 'make copies in DIR (default /var/lib/stormcheck/archive)'
complete -c mailarchive -l mailbox -r -F -d 'a mailbox is PATH, with {user} or {home} in it (default /var/mail/{user} and /var/mail/.{user}.pop)'
complete -c mailarchive -l host -x -d 'act on the rows of host NAME (default: this machine\'s node name)'
complete -c mailarchive -l dry-run -s n -d 'copy nothing, note what would be'
complete -c mailarchive -l help -s h -d 'print this help'
complete -c mailarchive -l version -d 'print the version'

complete -c killstorm -f
complete -c killstorm -l signal -x -d 'send SIG first, and KILL to what is left 5 s later (default KILL)'
complete -c killstorm -l timeout -x -d 'give a row up after DUR (default 30s)'
complete -c killstorm -l host -x -d 'act on the rows of host NAME (default: this machine\'s node name)'
complete -c killstorm -l dry-run -s n -d 'signal nobody, note who would be'
complete -c killstorm -l help -s h -d 'print this help'
complete -c killstorm -l version -d 'print the version'

complete -c alertmail -f
complete -c alertmail -l to -x -d 'mail the message to ADDR; repeatable (default: print it)'
complete -c alertmail -l from -x -d 'sender ADDR (default: root at this machine)'
complete -c alertmail -l each -d 'a message at each snapshot\'s end, not one at the end of input'
complete -c alertmail -l title -x -d 'TEXT above the message (default STORM ALERT)'
complete -c alertmail -l level -x -d 'one LEVEL of emergency, urgent, critical, error, warning, notice, info, debug (default: urgent or warning, by the actions)'
complete -c alertmail -l name -x -d 'NAME of the check (default stormcheck)'
complete -c alertmail -l task -x -d 'TEXT that says what the check does'
complete -c alertmail -l sendmail -r -F -d 'mailer at PATH (default /usr/sbin/sendmail)'
complete -c alertmail -l log -r -F -d 'append all rows to FILE'
complete -c alertmail -l dry-run -s n -d 'print what would be sent, and log nothing'
complete -c alertmail -l help -s h -d 'print this help'
complete -c alertmail -l version -d 'print the version'

complete -c stormcheck -f
complete -c stormcheck -l dry-run -s n -d 'touch nothing, show what would be done'
complete -c stormcheck -l every -x -d 'stand ready, and look each DUR'
complete -c stormcheck -l check -d 'say what is well and what is wrong, and end'
complete -c stormcheck -l status -d 'show the last run and what was done, and end'
complete -c stormcheck -l help -s h -d 'print this help'
complete -c stormcheck -l version -d 'print the version'
