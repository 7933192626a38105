package rows

import "testing"

func TestRefused(t *testing.T) {
	if why, ok := ParseRefused(FormatRefused("3 in containers")); why != "3 in containers" || !ok {
		t.Errorf("%q, %v", why, ok)
	}
	if _, ok := ParseRefused("not refused: 3"); ok {
		t.Error("another message is taken for it")
	}
}
