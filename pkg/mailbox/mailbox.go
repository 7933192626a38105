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
	// Account is the uid's own name if Name is one of several people who share the uid,
	// and not the account of that name. Otherwise it is "".
	Account string
}

// parts returns what is before and after the @ in the user's name. domain is "" if there
// is none.
func (u User) parts() (name, domain string) {
	name, domain, _ = strings.Cut(u.Name, "@")
	return name, domain
}

// What Open says of a mailbox that isn't one, where that needn't be an attack.
var (
	ErrNone      = errors.New("no such mailbox")
	ErrDirectory = errors.New("a directory")              // such as a Maildir
	ErrForeign   = errors.New("belongs to somebody else") // is wrapped with the owner's uid
)

// ErrRefused is wrapped by the error of what somebody may have put in a mailbox's
// place for a program to fall for it: a link, a FIFO, a file under a lease.
var ErrRefused = errors.New("refused")

// CheckName refuses a user name that must not become part of a path: one that
// could lead elsewhere, that a program could take for an option, or that names
// something other than a mailbox in a spool: a hidden file, a lock (USER.lock). A
// colon ends a name in passwd(5): no account has one.
func CheckName(name string) error {
	switch {
	case name == "",
		name[0] == '.', name[0] == '-',
		strings.ContainsAny(name, "/:"),
		strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }),
		strings.HasSuffix(name, ".lock"):
		return errors.New("not fit for a path")
	}
	return nil
}

// FileBase returns the beginning of the name of a file about the user, which a dot and the
// EPOCH follow. No other user's begins so: the dot of a number at the name's end is
// doubled, anna..1987 for anna.1987, and one of several people who share an account has a
// single dot and the uid after the name.
func (u User) FileBase() string {
	base := u.Name
	if dot := strings.LastIndexByte(base, '.'); dot >= 0 && isNumber(base[dot+1:]) {
		base = base[:dot] + "." + base[dot:]
	}
	if u.Account != "" {
		base += fmt.Sprintf(".%d", u.UID)
	}
	return base
}

func isNumber(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

// The places of a Template.
const (
	userPlace   = "{user}"
	namePlace   = "{name}"   // of user@domain
	domainPlace = "{domain}" // of user@domain
	homePlace   = "{home}"
	bytePlace   = "{user:" // and N}, 1 to 9: the N-th byte of the name, for hashed spools
)

// A Template says where users have a mailbox: a path with places for what
// differs from user to user.
type Template struct {
	dir  string // opened as it is configured; "" for the home directory
	name string // what is opened beneath it, with places for the user
}

// Parse reads a template: an absolute path with {user} or {name} in it, which may have
// {domain} and {user:1} to {user:9} too, or one that begins with {home}, a user's home
// directory.
func Parse(path string) (Template, error) {
	var t Template
	if name, ok := strings.CutPrefix(path, homePlace+"/"); ok {
		t.name = name
	} else {
		if !strings.Contains(path, userPlace) && !strings.Contains(path, namePlace) || path[0] != '/' {
			return t, fmt.Errorf("%q is neither an absolute path with %s or %s nor one that begins with %s/", path, userPlace, namePlace, homePlace)
		}
		slash := strings.LastIndexByte(path[:strings.IndexByte(path, '{')], '/')
		t.dir, t.name = path[:slash+1], path[slash+1:]
	}
	if strings.ContainsAny(t.dir+places(User{Name: strings.Repeat("x", mostBytes)}).Replace(t.name), "{}") {
		return t, fmt.Errorf("%q has a place that is none of %s, %s1} to 9}, %s and %s, nor %s/ at its beginning",
			path, userPlace, bytePlace, namePlace, domainPlace, homePlace)
	}
	for part := range strings.SplitSeq(t.name, "/") {
		if part == "" || part == "." || part == ".." {
			return t, fmt.Errorf("%q has an empty part or one of dots", path)
		}
	}
	return t, nil
}

// mostBytes is how many bytes of a name have places.
const mostBytes = 9

// places puts the user's name and its parts into the places of a path.
func places(u User) *strings.Replacer {
	name, domain := u.parts()
	pairs := []string{userPlace, u.Name, namePlace, name, domainPlace, domain}
	for n := range min(len(u.Name), mostBytes) {
		pairs = append(pairs, placeOfByte(n), u.Name[n:n+1])
	}
	return strings.NewReplacer(pairs...)
}

// placeOfByte returns the place of the byte at n, counted from 0.
func placeOfByte(n int) string { return fmt.Sprintf("%s%d}", bytePlace, n+1) }

// fitsBytes returns an error if a byte of the user's name that the path wants is missing
// or no part of a path by itself.
func (t Template) fitsBytes(u User) error {
	if !strings.Contains(t.name, bytePlace) {
		return nil
	}
	for n := range mostBytes {
		if place := placeOfByte(n); strings.Contains(t.name, place) &&
			(n >= len(u.Name) || u.Name[n] == '.' || u.Name[n] == '/' || u.Name[n] >= 0x80) {
			return fmt.Errorf("%s: the user's name has no such byte, or a dot, a slash or no ASCII there", place)
		}
	}
	return nil
}

// Path returns the path of the user's mailbox, to name it. To open it, use Open.
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
	if place := strings.LastIndexByte(last, '}'); place >= 0 {
		return last[place+1:]
	}
	return ""
}

// beneath returns the path of the user's mailbox from where it is opened.
func (t Template) beneath(u User) string { return places(u).Replace(t.name) }

// fits returns an error where the user's name is unfit for the path, and ErrNone where
// it has no domain for one that wants it.
func (t Template) fits(u User) error {
	name, domain := u.parts()
	for _, c := range []struct{ place, text string }{{userPlace, u.Name}, {namePlace, name}, {domainPlace, domain}} {
		if !strings.Contains(t.name, c.place) {
			continue
		}
		if c.place == domainPlace && u.Name == name {
			return ErrNone
		}
		if err := CheckName(c.text); err != nil {
			return err
		}
	}
	if err := t.fitsBytes(u); err != nil {
		return err
	}
	return CheckName(u.Name) // it is in a copy's name too
}
