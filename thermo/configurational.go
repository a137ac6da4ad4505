package thermo

// Configurational is the thermometer T = ⟨|∇_l E|²⟩ / ⟨tr H_l⟩ of T6 in
// docs/theory.md, in energy per nat, for Boltzmann states: integrating by parts,
// ⟨|∇E|²⟩ = T ⟨tr H⟩. Where a state is not of that kind it differs from the
// virial thermometer, which [ZerothLaw] sees.
type Configurational struct {
	gradient, trace grouped
}

// NewConfigurational returns a configurational thermometer of the given groups.
// It is an error when there is none, or one without parameters.
func NewConfigurational(groups []Group) (*Configurational, error) {
	gradient, err := newGrouped("configurational thermometer", groups)
	if err != nil {
		return nil, err
	}
	trace, err := newGrouped("configurational thermometer", groups)
	return &Configurational{gradient, trace}, err
}

// Add adds one draw: |∇_l E|² and the trace of the Hessian of every group at
// that draw. An unbiased estimate of the trace, one Hutchinson probe say, does
// as well: its noise is part of the error.
func (c *Configurational) Add(gradientNorms2, traces []float64) error {
	if err := c.gradient.check("configurational thermometer: squared gradients", gradientNorms2); err != nil {
		return err
	}
	if err := c.trace.check("configurational thermometer: traces", traces); err != nil {
		return err
	}
	c.gradient.add(gradientNorms2)
	c.trace.add(traces)
	return nil
}

// Readings returns the local temperature of every group, with the error of the
// ratio from joint batches (delta method). A reading is not valid when the trace
// is not significantly different from zero.
func (c *Configurational) Readings() []Reading {
	readings := make([]Reading, len(c.gradient.groups))
	for i, group := range c.gradient.groups {
		readings[i] = Ratio("configurational", group.Name, "energy/nat", &c.gradient.series[i], &c.trace.series[i])
	}
	return readings
}

// Global returns the temperature of all groups together.
func (c *Configurational) Global() Reading {
	return Ratio("configurational", "", "energy/nat", &c.gradient.total, &c.trace.total)
}

func (c *Configurational) influence() influence {
	return ratioInfluence(&c.gradient.total, &c.trace.total, 1)
}

// ConfigurationalOf returns the configurational temperature from a mean squared
// gradient and a mean trace of the Hessian that were estimated apart, and whose
// errors are independent: the trace at the mean of the state by Hutch++, say. It
// is not valid when either is not, or when the trace is not significantly
// different from zero.
func ConfigurationalOf(gradientNorm2, trace Reading) Reading {
	r := quotient(gradientNorm2, trace)
	r.Name, r.Group, r.Unit = "configurational", gradientNorm2.Group, "energy/nat"
	return r
}
