package rows

import "strings"

// FormatRefused returns killstorm's note on processes that match and that it leaves
// alone; why counts them by the reason.
func FormatRefused(why string) string { return "refused: " + why }

// ParseRefused reads the text of FormatRefused.
func ParseRefused(text string) (why string, ok bool) { return strings.CutPrefix(text, "refused: ") }
