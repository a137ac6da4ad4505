package thermo

// Virial is the thermometer T_l = ⟨(θ_l − m_l)·∇_l E⟩ / k_l of T2 in
// docs/theory.md, in energy per nat. With θ − m the deviation from the centre of
// the distribution it is dU/dS of its scale family, exactly and without a
// Boltzmann distribution; for a Boltzmann state it returns the temperature for
// any fixed m.
type Virial struct{ grouped }

// NewVirial returns a virial thermometer of the given groups. It is an error
// when there is none, or one without parameters.
func NewVirial(groups []Group) (*Virial, error) {
	g, err := newGrouped("virial thermometer", groups)
	return &Virial{g}, err
}

// Add adds one draw: (θ_l − m_l)·∇_l E of every group, in energy.
func (v *Virial) Add(virials []float64) error {
	if err := v.check("virial thermometer", virials); err != nil {
		return err
	}
	v.add(virials)
	return nil
}

// Readings returns the local temperature of every group.
func (v *Virial) Readings() []Reading { return v.readings("virial", 1) }

// Global returns the temperature of all groups together, the mean of the local
// ones weighted by their parameters. Its error is that of the summed series, so
// it counts the correlation between the groups.
func (v *Virial) Global() Reading { return v.global("virial", 1) }

func (v *Virial) influence() influence { return meanInfluence(&v.total, 1/float64(v.size)) }

// readings returns scale·mean/size of every group, in energy per nat.
func (g *grouped) readings(name string, scale float64) []Reading {
	readings := make([]Reading, len(g.groups))
	for i, group := range g.groups {
		readings[i] = g.series[i].Reading(name, group.Name, "energy/nat").scaled(scale / float64(group.Size))
	}
	return readings
}

func (g *grouped) global(name string, scale float64) Reading {
	return g.total.Reading(name, "", "energy/nat").scaled(scale / float64(g.size))
}
