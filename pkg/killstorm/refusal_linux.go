package killstorm

import (
	"slices"

	"stormcheck/pkg/proc"
)

// refusal says why the process that was opened must not be touched, though it
// matches; "" if it may.
func (f *fight) refusal(s *storm, p *process, h proc.Handle, who *proc.Identity) string {
	switch uid := p.uid; {
	case p.why == ownGroup || p.why == byTitle:
		return p.why
	case who.UID != uid || who.Real != uid || who.Saved != uid:
		return otherUID // a setuid program that somebody else runs
	case uid != s.user.UID && !s.madeUser(h):
		return stranger
	case !who.Inner:
		return ""
	case !f.AllowOwnContainers:
		return inContainer
	case who.First:
		return firstOne
	case !s.owns(h):
		return foreign
	}
	return ""
}

// owns reports whether the storm's account made every container that a process is in.
func (s *storm) owns(h proc.Handle) bool {
	owners, err := h.ContainerOwners()
	return err == nil && len(owners) > 0 && !slices.ContainsFunc(owners, func(uid uint32) bool {
		return uid != s.user.UID && !s.subordinates.Hold(uid)
	})
}

// madeUser reports whether the storm's account made a user namespace that a process is
// in. Else its uid only happens to be a subordinate one.
func (s *storm) madeUser(h proc.Handle) bool {
	owners, err := h.UserOwners()
	return err == nil && slices.Contains(owners, s.user.UID)
}
