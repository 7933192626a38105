package mailarchive

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"stormcheck/pkg/rows"
)

// units are those of a size, each 1024 times the one before.
const units = "KMGTP"

// parseSize reads a number of bytes: 1048576, 1024K, 1M.
func parseSize(text string) (int64, error) {
	number, shift := text, 0
	if text != "" {
		if unit := strings.IndexByte(units, text[len(text)-1]); unit >= 0 {
			number, shift = text[:len(text)-1], 10*(unit+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != number || n < 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q is not a size such as 500M or 2G", text)
	}
	return n << shift, nil
}

// sizeText writes a number of bytes for people: 3.0T.
func sizeText(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	size, unit := float64(n)/1024, 0
	for size >= 1023.95 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	return fmt.Sprintf("%.1f%c", size, units[unit])
}

// A Share is a part of a file system: so many bytes, or so many hundredths of it.
type Share struct {
	Bytes   int64
	Percent int64
}

// parseShare reads a size, or 5%.
func parseShare(text string) (s Share, err error) {
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		if s.Percent, err = rows.ParseNumber(percent); err != nil || s.Percent > 100 {
			return s, fmt.Errorf("%q is not a share such as 5%%", text)
		}
		return s, nil
	}
	s.Bytes, err = parseSize(text)
	return s, err
}

// of returns the share of a file system of size bytes.
func (s Share) of(size int64) int64 {
	return s.Bytes + size/100*s.Percent + size%100*s.Percent/100
}
