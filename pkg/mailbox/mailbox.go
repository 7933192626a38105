// Package mailbox opens a user's mail file for a program that runs as root in
// directories where users make, swap and link files. What it opens is a regular
// file that belongs to that user, and nothing that a user can do makes it wait.
package mailbox

import (
	"errors"
	"fmt"
	"strings"
)

// A User is an account with a mailbox.
type User struct {
	Name string // see CheckName
	UID  uint32 // the mailbox is this uid's
	Home string // the home directory, "" where it isn't known
}

// What Open says of a mailbox that isn't one, where that needn't be an attack.
var (
	ErrNone      = errors.New("no such mailbox")
	ErrDirectory = errors.New("a directory")              // such as a Maildir
	ErrForeign   = errors.New("belongs to somebody else") // is wrapped with whom
)

// ErrRefused is wrapped by the error of what somebody may have put in a mailbox's
// place for a program to fall for it: a link, a FIFO, a file under a lease.
var ErrRefused = errors.New("refused")

// CheckName refuses a user name that must not become part of a path: one that
// could lead elsewhere, that a program could take for an option, or that names
// something other than a mailbox in a spool: a hidden file, a lock (USER.lock),
// a copy (USER.EPOCH). A colon ends a name in passwd(5): no account has one.
func CheckName(name string) error {
	dot := strings.LastIndexByte(name, '.')
	switch {
	case name == "",
		name[0] == '.', name[0] == '-',
		strings.ContainsAny(name, "/:"),
		strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }),
		strings.HasSuffix(name, ".lock"),
		dot >= 0 && dot < len(name)-1 && strings.Trim(name[dot+1:], "0123456789") == "":
		return errors.New("not fit for a path")
	}
	return nil
}

// The places of a Template.
const (
	userPlace = "{user}"
	homePlace = "{home}"
)

// A Template says where users have a mailbox: a path with places for what
// differs from user to user.
type Template struct {
	dir  string // opened as it is configured; "" for the home directory
	name string // what is opened beneath it, with places for the user
}

// Parse reads a template: an absolute path with one {user} or more, or one that
// begins with {home}, a user's home directory.
func Parse(path string) (Template, error) {
	var t Template
	if name, ok := strings.CutPrefix(path, homePlace+"/"); ok {
		t.name = name
	} else {
		place := strings.Index(path, userPlace)
		if place < 0 || path[0] != '/' {
			return t, fmt.Errorf("%q is neither an absolute path with %s nor one that begins with %s/", path, userPlace, homePlace)
		}
		slash := strings.LastIndexByte(path[:place], '/')
		t.dir, t.name = path[:slash+1], path[slash+1:]
	}
	if strings.ContainsAny(t.dir+strings.ReplaceAll(t.name, userPlace, ""), "{}") {
		return t, fmt.Errorf("%q has a place that is neither %s nor %s/ at its beginning", path, userPlace, homePlace)
	}
	for part := range strings.SplitSeq(t.name, "/") {
		if part == "" || part == "." || part == ".." {
			return t, fmt.Errorf("%q has an empty part or one of dots", path)
		}
	}
	return t, nil
}

// Path returns the path of the user's mailbox, to name it. It is not to be
// opened: see Open.
func (t Template) Path(u User) string {
	switch {
	case t.dir == "" && u.Home == "":
		return homePlace + "/" + t.beneath(u)
	case t.dir == "":
		return strings.TrimSuffix(u.Home, "/") + "/" + t.beneath(u)
	}
	return t.dir + t.beneath(u)
}

// Suffix returns what the last part of the path has after the user: ".pop" of
// /var/mail/.{user}.pop. It is "" where the user isn't in that part.
func (t Template) Suffix() string {
	last := t.name[strings.LastIndexByte(t.name, '/')+1:]
	place := strings.LastIndex(last, userPlace)
	if place < 0 {
		return ""
	}
	return last[place+len(userPlace):]
}

// beneath returns the path of the user's mailbox from where it is opened.
func (t Template) beneath(u User) string { return strings.ReplaceAll(t.name, userPlace, u.Name) }
