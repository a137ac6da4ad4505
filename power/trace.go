package power

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// largestPower is what one device may draw, in W. A reading beyond it is damage.
const largestPower = 1e6

// A Trace is the measured power of one device.
type Trace struct {
	Device  string    // "gpu 0", "package-0", or "" for a whole system
	Time    []float64 // seconds since 1970, never falling
	Watts   []float64 // power at each time, or, with Counter, its mean since the time before
	Celsius []float64 // temperature at each time, NaN where the device gave none; nil when it was not asked for

	Counter    bool // the power comes of a counter of energy; Watts[0] then means nothing
	Missing    int  // readings that the device did not give
	OutOfOrder int  // readings that came with an earlier time than the one before
}

// A Gap is a time without readings, in seconds since 1970.
type Gap struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

// Use is the energy that a device took over a time.
type Use struct {
	Joules   float64 // over the times that readings cover
	StdErr   float64 // of Joules, for power that moves between readings; the error of the sensor is not in it
	Readings int     // within the time
	Seconds  float64 // that readings cover
	Gaps     []Gap   // that they do not, of which Joules has nothing
}

// Add adds the energy of another device, which errs independently. Seconds are
// those of both.
func (u Use) Add(v Use) Use {
	return Use{u.Joules + v.Joules, math.Hypot(u.StdErr, v.StdErr), u.Readings + v.Readings, u.Seconds + v.Seconds,
		append(slices.Clone(u.Gaps), v.Gaps...)}
}

// check says what makes the trace unusable, nil when nothing does.
func (t *Trace) check() error {
	if len(t.Time) != len(t.Watts) {
		return fmt.Errorf("power of %s: %d times and %d readings", t.Device, len(t.Time), len(t.Watts))
	}
	for i, w := range t.Watts {
		if !(w >= 0 && w <= largestPower) || math.IsNaN(t.Time[i]) || math.IsInf(t.Time[i], 0) {
			return fmt.Errorf("power of %s: reading %d is %g W at %g s", t.Device, i, w, t.Time[i])
		}
		if i > 0 && t.Time[i] < t.Time[i-1] {
			return fmt.Errorf("power of %s: reading %d is %g s earlier than the one before", t.Device, i, t.Time[i-1]-t.Time[i])
		}
	}
	return nil
}

// add adds a reading, in whatever order.
func (t *Trace) add(time, watts, celsius float64) {
	if n := len(t.Time); n > 0 && time < t.Time[n-1] {
		t.OutOfOrder++
	}
	t.Time, t.Watts, t.Celsius = append(t.Time, time), append(t.Watts, watts), append(t.Celsius, celsius)
}

// order sorts the readings by time.
func (t *Trace) order() {
	if t.OutOfOrder == 0 {
		return
	}
	by := make([]int, len(t.Time))
	for i := range by {
		by[i] = i
	}
	slices.SortStableFunc(by, func(i, j int) int { return cmp.Compare(t.Time[i], t.Time[j]) })
	for _, of := range []*[]float64{&t.Time, &t.Watts, &t.Celsius} {
		if *of != nil {
			sorted := make([]float64, len(by))
			for i, from := range by {
				sorted[i] = (*of)[from]
			}
			*of = sorted
		}
	}
}

// longest returns the longest interval that readings are taken to cover: five
// median ones, and at least five seconds. Beyond it a sensor or its reader had
// stopped, and what was drawn is not known. A counter of energy has counted on,
// so its intervals are all covered.
func (t *Trace) longest() float64 {
	if t.Counter {
		return math.Inf(1)
	}
	if len(t.Time) < 2 {
		return 5
	}
	intervals := make([]float64, len(t.Time)-1)
	for i := range intervals {
		intervals[i] = t.Time[i+1] - t.Time[i]
	}
	slices.Sort(intervals)
	return max(5, 5*intervals[len(intervals)/2])
}

// Energy integrates the power from one time to another, in seconds since 1970:
// by trapezoids between readings, by the counts of a counter. Times before the
// first and after the last reading, and between readings further apart than five
// median intervals (and five seconds), are gaps: they are reported, never filled.
//
// The error takes what a reading differs from the mean of its neighbours to be
// power that moved independently of them: for noise it is the error of the
// integral, for power that changes slowly it is on the large side.
func (t *Trace) Energy(from, to float64) (Use, error) {
	if err := t.check(); err != nil {
		return Use{}, err
	}
	if !(to >= from) || math.IsInf(to-from, 0) {
		return Use{}, fmt.Errorf("power of %s: from %g s to %g s is no time", t.Device, from, to)
	}
	var u Use
	longest, covered := t.longest(), from
	variance := 0.0
	at, _ := slices.BinarySearch(t.Time, from)
	for i := max(at, 1); i < len(t.Time) && t.Time[i-1] < to; i++ {
		start, end := max(t.Time[i-1], from), min(t.Time[i], to)
		if end <= start || t.Time[i]-t.Time[i-1] > longest {
			continue
		}
		if start > covered {
			u.Gaps = append(u.Gaps, Gap{covered, start})
		}
		u.Joules += t.between(i, start, end)
		u.Seconds += end - start
		variance += t.scatter(i) * (end - start) * (end - start)
		covered = end
	}
	if covered < to {
		u.Gaps = append(u.Gaps, Gap{covered, to})
	}
	for ; at < len(t.Time) && t.Time[at] <= to; at++ {
		u.Readings++
	}
	u.StdErr = math.Sqrt(variance)
	return u, nil
}

// between returns the energy from start to end, both between readings i−1 and i.
func (t *Trace) between(i int, start, end float64) float64 {
	if t.Counter {
		return t.Watts[i] * (end - start)
	}
	width := t.Time[i] - t.Time[i-1]
	middle := ((start-t.Time[i-1])/2 + (end-t.Time[i-1])/2) / width
	return (t.Watts[i-1]*(1-middle) + t.Watts[i]*middle) * (end - start)
}

// scatter returns the variance of reading i about its neighbours, in W². A
// counter misses nothing.
func (t *Trace) scatter(i int) float64 {
	if t.Counter || len(t.Watts) < 3 {
		return 0
	}
	i = min(i, len(t.Watts)-2)
	d := t.Watts[i] - (t.Watts[i-1]+t.Watts[i+1])/2
	return d * d / 1.5
}
