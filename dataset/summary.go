package dataset

import "math"

// A Summary describes a set in a few numbers.
type Summary struct {
	Mean, SD, Min, Max float64 // of all features together
	Constant           int     // features that have one value in every example
	Counts             []int   // [class] examples; nil without labels
	LabelEntropy       float64 // of the class frequencies, nats; ln(classes) when balanced
	TargetMean         float64 // of all targets together; 0 without targets
	TargetSD           float64
}

// Summarize computes a Summary. Standard deviations divide by the number of
// values, not by one less.
func (s *Set) Summarize() Summary {
	var m Summary
	m.Mean, m.SD, m.Min, m.Max = moments(s.X)
	m.TargetMean, m.TargetSD, _, _ = moments(s.Y)
	features := s.Features()
	for j := range features {
		constant := true
		for i := 1; i < s.N && constant; i++ {
			constant = s.X[i*features+j] == s.X[j]
		}
		if constant {
			m.Constant++
		}
	}
	if s.Labels == nil {
		return m
	}
	m.Counts = make([]int, s.Classes)
	for _, l := range s.Labels {
		m.Counts[l]++
	}
	for _, n := range m.Counts {
		if n > 0 {
			p := float64(n) / float64(len(s.Labels))
			m.LabelEntropy -= p * math.Log(p)
		}
	}
	return m
}

// moments is Welford's one-pass algorithm: no cancellation for data far from 0.
func moments(xs []float32) (mean, sd, low, high float64) {
	if len(xs) == 0 {
		return 0, 0, 0, 0
	}
	low, high = math.Inf(1), math.Inf(-1)
	var m2 float64
	for i, v := range xs {
		x := float64(v)
		d := x - mean
		mean += d / float64(i+1)
		m2 += d * (x - mean)
		low, high = min(low, x), max(high, x)
	}
	return mean, math.Sqrt(m2 / float64(len(xs))), low, high
}
