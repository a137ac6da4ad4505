package power

import (
	"errors"
	"fmt"
	"math"

	"github.com/kelvin-ml/kelvin/run"
)

// ReadRecords reads the power that a run recorded of its own system (the value
// "power" of records of kind step, docs/run-format.md). What a resume took back is
// in it: its joules were spent. Values that are not finite count as missing, lines
// that are no records are left out. A run without power gives an empty trace.
func ReadRecords(dir string) (Trace, error) {
	var t Trace
	follower, err := run.Follow(dir)
	if err != nil {
		return t, err
	}
	for record, err := range follower.Next() {
		var damage *run.LineError
		if errors.As(err, &damage) {
			continue
		}
		if err != nil {
			return t, fmt.Errorf("reading the power of %s: %w", dir, err)
		}
		watts, ok := record.Values["power"]
		switch {
		case !ok || record.Kind != run.KindStep:
		case math.IsNaN(watts) || math.IsInf(watts, 0) || !(math.Abs(record.Time) < 1e12):
			t.Missing++
		case watts < 0 || watts > largestPower:
			return t, fmt.Errorf("reading the power of %s: step %d: expected watts from 0 to %g, got %g", dir, record.Step, float64(largestPower), watts)
		default:
			t.add(record.Time, watts, math.NaN())
		}
	}
	t.Celsius = nil
	t.order()
	return t, nil
}
