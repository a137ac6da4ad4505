package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"github.com/kelvin-ml/kelvin/power"
	"github.com/kelvin-ml/kelvin/thermo"
)

// follow prints the chip's temperature along a run, whose power it recorded or
// nvidia-smi logged.
func follow(ctx context.Context, out io.Writer, c *chip, path string) error {
	traces, err := open(path)
	if err != nil {
		return err
	}
	const seconds, most = 1, 7 * 24 * 3600
	watts := steps(traces, seconds)
	switch {
	case len(watts) == 0:
		return fmt.Errorf("%s has no power: record it, or give a log of nvidia-smi", path)
	case len(watts) > most:
		return fmt.Errorf("%s covers %d s: expected at most a week", path, len(watts))
	}
	powers := func(yield func([]float64) bool) {
		for _, w := range watts {
			if !yield(c.nodes(w)) {
				return
			}
		}
	}
	start, err := c.model.Steady(c.nodes(0)) // as cold as its surroundings
	if err != nil {
		return err
	}
	second, hot, joules := 0, 0, 0.0
	highest, when := math.Inf(-1), 0
	every := max(1, len(watts)/10)
	fmt.Fprintf(out, "%8s %10s %9s\n", "time (s)", "power (W)", "peak (K)")
	err = c.model.Transient(ctx, start, powers, seconds, func(t []float64) {
		peak, _ := c.model.Peak(t)
		joules += watts[second] * seconds
		second++
		if peak > c.limit {
			hot++
		}
		if peak > highest {
			highest, when = peak, second
		}
		if second%every == 0 || second == len(watts) {
			fmt.Fprintf(out, "%8d %10.1f %9.2f\n", second, watts[second-1], peak)
		}
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	fmt.Fprintf(out, "%s J in %d s; hottest %.2f K at %d s; %d s above the %.2f K at which it would have throttled\n", thermo.Format(joules, 4), second, highest, when, hot, c.limit)
	return err
}

// open reads the power of a run folder, or of a log.
func open(path string) ([]power.Trace, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return power.ReadCSV(path, time.Local)
	}
	t, err := power.ReadRecords(path)
	return []power.Trace{t}, err
}

// steps is the sum of the traces at even times. A reading holds until the next; that of a
// counter is the mean since the one before.
func steps(traces []power.Trace, seconds float64) []float64 {
	first, last := math.Inf(1), math.Inf(-1)
	for _, t := range traces {
		if len(t.Time) > 0 {
			first, last = min(first, t.Time[0]), max(last, t.Time[len(t.Time)-1])
		}
	}
	var watts []float64
	for now := first + seconds; now <= last; now += seconds {
		sum := 0.0
		for _, t := range traces {
			next, found := slices.BinarySearch(t.Time, now)
			if !t.Counter && !found {
				next--
			}
			if next >= 0 && next < len(t.Watts) {
				sum += t.Watts[next]
			}
		}
		watts = append(watts, sum)
	}
	return watts
}
