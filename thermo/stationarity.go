package thermo

// Stationarity is the test of T6 in docs/theory.md whether an optimiser, any
// optimiser, has stopped going somewhere. With u the update of a step from θ,
//
//	ρ = −2⟨(θ−θ̄)·u⟩/⟨u²⟩
//
// is 1 when |θ−θ̄|² is stationary. While the parameters drift away from θ̄ it is
// below 1, and negative; while they are drawn back to it, above.
//
// θ̄ must be the mean over an earlier stretch of steps, at least as long as the
// relaxation time: a mean over the same steps follows a drift and hides it. The
// sum of 2(θ−θ̄)·u + u² over the steps is what |θ−θ̄|² gained between the first
// and the last, so the error of ρ, which sees steps only, is on the large side,
// and ρ tells of a drift only when that carries
// θ further than Σu² does.
type Stationarity struct{ overlap, square grouped }

// NewStationarity returns the test for the given groups of parameters. It is an
// error when there is none, or one without parameters.
func NewStationarity(groups []Group) (*Stationarity, error) {
	overlap, err := newGrouped("stationarity", groups)
	if err != nil {
		return nil, err
	}
	square, err := newGrouped("stationarity", groups)
	return &Stationarity{overlap, square}, err
}

// Add adds one step: (θ_l−θ̄_l)·u_l and |u_l|² of every group, with θ from before
// the step.
func (s *Stationarity) Add(overlaps, squares []float64) error {
	if err := s.overlap.check("stationarity: overlaps with the update", overlaps); err != nil {
		return err
	}
	if err := s.square.check("stationarity: squared updates", squares); err != nil {
		return err
	}
	s.overlap.add(overlaps)
	s.square.add(squares)
	return nil
}

// Readings returns ρ of every group. It is not valid when nothing moves.
func (s *Stationarity) Readings() []Reading {
	readings := make([]Reading, len(s.overlap.groups))
	for i, group := range s.overlap.groups {
		readings[i] = ratio("stationarity", group.Name, "1", &s.overlap.series[i], &s.square.series[i], -2)
	}
	return readings
}

// Global returns ρ of all groups together.
func (s *Stationarity) Global() Reading {
	return ratio("stationarity", "", "1", &s.overlap.total, &s.square.total, -2)
}
