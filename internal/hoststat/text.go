package hoststat

import (
	"fmt"
	"time"
)

// Age is a duration as people read it in a table: its largest unit, and the next one where
// that is still of interest.
func Age(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 10*time.Minute:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 10*time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/day)
}

// Bytes is a size as people read it: 12.3MiB, as docker stats has it.
func Bytes(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	size := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if size /= 1024; size < 1000 {
			return fmt.Sprintf("%.*f%s", decimals(size), size, unit)
		}
	}
	return fmt.Sprintf("%.0fEiB", size/1024)
}

// decimals leaves three digits, or four without a point.
func decimals(size float64) int {
	switch {
	case size < 10:
		return 2
	case size < 100:
		return 1
	}
	return 0
}

// Percent is the share of one core: 12.3%, as docker stats has it; "-" where it is not known.
func Percent(cpu *float64) string {
	if cpu == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", *cpu)
}
