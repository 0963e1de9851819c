package hoststat

import (
	"fmt"
	"time"
)

// Age returns a duration for people to read in a table: its largest unit, and the next one if that
// still matters.
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

// Memory shows what containers use, for people. Of those that run it is never nothing: 0 is not known.
func Memory(used uint64, run bool) string {
	if used == 0 && run {
		return "-"
	}
	return Bytes(used)
}

// Bytes returns a size for people to read: 12.3MiB, as in docker stats.
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

// decimals returns how many decimals leave three digits. Four digits have no point.
func decimals(size float64) int {
	switch {
	case size < 10:
		return 2
	case size < 100:
		return 1
	}
	return 0
}

// Percent returns the share of one core: 12.3%, as in docker stats; "-" if it is not known.
func Percent(cpu *float64) string {
	if cpu == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", *cpu)
}
