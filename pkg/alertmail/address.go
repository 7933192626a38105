package alertmail

import (
	"cmp"
	"net/mail"
	"strconv"
	"strings"
)

// isAddress reports whether text is a dot-atom, optionally followed by @ and a dot-atom
// or a literal in brackets (RFC 5322, 3.2.3 and 3.4.1), of at most 254 bytes (RFC 5321,
// 4.5.3.1.3). It needs no domain: sendmail completes "root". No mailer takes it for a
// flag, a command, a file, or more than one address.
func isAddress(text string) bool {
	local, domain, has := strings.Cut(text, "@")
	return len(text) <= 254 && isDotAtom(local) && !strings.ContainsRune("-|/", rune(text[0])) &&
		(!has || isDotAtom(domain) || isLiteral(domain))
}

func isDotAtom(text string) bool {
	for atom := range strings.SplitSeq(text, ".") {
		unfit := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>[]:;@\,."`, r) }
		if atom == "" || strings.ContainsFunc(atom, unfit) {
			return false
		}
	}
	return true
}

func isLiteral(text string) bool {
	inner, begins := strings.CutPrefix(text, "[")
	inner, ends := strings.CutSuffix(inner, "]")
	unfit := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`[]\`, r) }
	return begins && ends && inner != "" && !strings.ContainsFunc(inner, unfit)
}

// parseFrom returns the From header and the envelope's sender of an address that
// may have a name before it (RFC 5322, 3.4). It needs no domain.
func parseFrom(text string) (header, sender string, fit bool) {
	name, rest, named := strings.Cut(text, "<")
	sender, closed := strings.CutSuffix(rest, ">")
	if !named {
		return text, text, isAddress(text)
	}
	isText := !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
	name = strings.TrimSpace(name)
	if unquoted, err := strconv.Unquote(name); err == nil {
		name = unquoted
	}
	fit = closed && isText && isAddress(sender)
	if name == "" {
		return sender, sender, fit
	}
	special := func(r rune) bool { return r > 0x7e || strings.ContainsRune(`()<>[]:;@\,."`, r) }
	if strings.ContainsFunc(name, special) {
		name = strings.TrimSuffix((&mail.Address{Name: name, Address: "x@y"}).String(), " <x@y>") // quoted or encoded
	}
	return name + " <" + sender + ">", sender, fit
}

// domain returns a node name as the domain of a Message-ID: what isn't a letter, a
// digit or a dot is a hyphen.
func domain(name string) string {
	name = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, name)
	return cmp.Or(strings.Trim(name, "-."), "localhost")
}

// isSafe reports whether a name means itself to a shell, and is neither a flag nor
// hidden.
func isSafe(name string) bool {
	unfit := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._@+-", r))
	}
	return name != "" && name[0] != '-' && name[0] != '.' && !strings.ContainsFunc(name, unfit)
}
