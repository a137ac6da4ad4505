// Package calibration reads temperatures off logits: of labels, where the reading
// is temperature scaling (Guo et al., arXiv 1706.04599), and of sampled tokens,
// where it is the temperature of the decoder (docs/theory.md, T6.4), with the
// truncation it used, and the temperature at which a vocabulary freezes (T3).
//
// Logits are read in passes over a [Source], so that they may be larger than
// memory.
package calibration

import (
	"errors"
	"fmt"
	"iter"
	"math"
)

// A Source is a matrix of logits, a row for every choice, that can be passed over
// again and again. A row is only good until the next.
type Source interface {
	All() iter.Seq2[[]float64, error]
}

// each calls f with every checked row of logits, its largest and the choice made.
func each(logits Source, chosen []int32, f func(i int, row []float64, largest float64, chosen int)) error {
	i := 0
	for row, err := range logits.All() {
		if err != nil {
			return err
		}
		if i >= len(chosen) {
			return fmt.Errorf("expected as many rows of logits as labels, got more than %d", len(chosen))
		}
		largest, err := check(i, row, chosen[i])
		if err != nil {
			return err
		}
		f(i, row, largest, int(chosen[i]))
		i++
	}
	if i < len(chosen) {
		return fmt.Errorf("expected as many rows of logits as labels, got %d and %d", i, len(chosen))
	}
	if i == 0 {
		return errEmpty
	}
	return nil
}

var errEmpty = errors.New("expected rows of logits, got none")

// check returns the largest logit of a row, or what is wrong with it.
func check(i int, row []float64, chosen int32) (largest float64, err error) {
	if len(row) < 2 {
		return 0, fmt.Errorf("row %d: expected at least two logits, got %d", i, len(row))
	}
	if chosen < 0 || int(chosen) >= len(row) {
		return 0, fmt.Errorf("row %d: label %d is out of range: expected 0 to %d", i, chosen, len(row)-1)
	}
	largest = math.Inf(-1)
	for j, z := range row {
		switch {
		case math.IsNaN(z):
			return 0, fmt.Errorf("row %d: logit %d is NaN", i, j)
		case math.IsInf(z, 1):
			return 0, fmt.Errorf("row %d: logit %d is +Inf", i, j)
		}
		largest = max(largest, z)
	}
	switch {
	case math.IsInf(largest, -1):
		return 0, fmt.Errorf("row %d: every logit is -Inf", i)
	case math.IsInf(row[chosen], -1):
		return 0, fmt.Errorf("row %d: the logit of label %d is -Inf, which gives it no probability", i, chosen)
	}
	return largest, nil
}
