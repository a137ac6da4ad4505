package thermo

import (
	"fmt"
	"iter"
	"math"
)

// MaximumLikelihood returns the temperature that maximises
// Σ log softmax(−e/T)[chosen] over draws of energies e and the choice made, as
// [Likelihood] does, but exactly, for any range of temperatures, and at the cost
// of some ten passes over the draws, which must be the same each time.
//
// The error is that of the observed information, for independent draws. With a
// cluster of c > 1 consecutive draws that depend on each other, and not on
// other clusters, it is the sandwich error of clusters. It is an error when the
// draws are malformed; a temperature that does not exist is a reading that is
// not valid.
func MaximumLikelihood(draws iter.Seq2[[]float64, int], cluster int) (Reading, error) {
	r := Reading{Name: "likelihood", Unit: "energy/nat", Value: math.NaN(), StdErr: math.NaN()}
	if cluster < 0 {
		return r, fmt.Errorf("maximum likelihood: clusters of %d draws, expected 0 or more", cluster)
	}
	pass := choicePass{cluster: cluster}
	if err := pass.over(draws, 0); err != nil {
		return r, err
	}
	if r.Invalid = choiceDefect(pass.draws, pass.score, pass.coldScore); r.Invalid != "" {
		return r, nil
	}
	low, high := 0.0, math.Inf(1)
	beta := pass.score / pass.information
	for range 200 {
		if err := pass.over(draws, beta); err != nil {
			return r, err
		}
		if pass.score > 0 {
			low = beta
		} else {
			high = beta
		}
		next := beta + pass.score/pass.information
		if !(next > low && next < high) || next > 4*beta { // Newton leaves the bracket, or runs
			next = low + (min(high, 4*max(low, beta))-low)/2
		}
		if math.Abs(next-beta) <= 1e-10*beta {
			return choiceReading(r, beta, pass.information, pass.spread, pass.draws, pass.clusters), nil
		}
		beta = next
	}
	return r, fmt.Errorf("maximum likelihood: no convergence near temperature %g: are the draws the same in every pass?", 1/beta)
}

// A choicePass sums what one pass over the draws shows at one beta.
type choicePass struct {
	cluster             int
	draws, clusters     int
	score, coldScore    float64
	information, spread float64
}

func (p *choicePass) over(draws iter.Seq2[[]float64, int], beta float64) error {
	*p = choicePass{cluster: p.cluster}
	var sum float64
	for energies, chosen := range draws {
		lowest, err := checkChoice(energies, chosen)
		if err != nil {
			return fmt.Errorf("draw %d: %w", p.draws, err)
		}
		var m choiceMoments
		for _, e := range energies {
			m.add(math.Exp(-beta*(e-lowest)), e-lowest)
		}
		mean, variance, _ := m.cumulants()
		score := mean - (energies[chosen] - lowest)
		p.draws++
		p.score += score
		p.coldScore -= energies[chosen] - lowest
		p.information += variance
		sum += score
		if p.cluster > 1 && p.draws%p.cluster == 0 {
			p.clusters++
			p.spread += sq(sum)
			sum = 0
		}
	}
	if p.cluster > 1 && p.draws%p.cluster != 0 {
		p.clusters++
		p.spread += sq(sum)
	}
	return nil
}

// choiceMoments sums weights and weighted powers of the energies of one draw.
type choiceMoments struct{ z, first, second, third float64 }

func (m *choiceMoments) add(weight, energy float64) {
	m.z += weight
	weight *= energy
	m.first += weight
	weight *= energy
	m.second += weight
	m.third += weight * energy
}

func (m *choiceMoments) cumulants() (mean, variance, third float64) {
	mean = m.first / m.z
	variance = max(m.second/m.z-mean*mean, 0)
	return mean, variance, m.third/m.z - 3*mean*variance - mean*mean*mean
}

// checkChoice returns the lowest energy of a draw, or what is wrong with it.
func checkChoice(energies []float64, chosen int) (lowest float64, err error) {
	if len(energies) < 2 {
		return 0, fmt.Errorf("likelihood thermometer: %d choices, expected at least two", len(energies))
	}
	if chosen < 0 || chosen >= len(energies) {
		return 0, fmt.Errorf("likelihood thermometer: choice %d of %d", chosen, len(energies))
	}
	lowest = math.Inf(1)
	for i, e := range energies {
		if !(math.Abs(e) <= largestEnergy) {
			return 0, fmt.Errorf("likelihood thermometer: energy of choice %d is %g", i, e)
		}
		lowest = min(lowest, e)
	}
	return lowest, nil
}

// choiceDefect says why there is no positive and finite temperature, from the
// scores in the limits of infinite and of zero temperature.
func choiceDefect(draws int, hot, cold float64) string {
	switch {
	case draws == 0:
		return "no draws"
	case hot == 0 && cold == 0:
		return "the energies of every draw are equal, and say nothing about temperature"
	case cold == 0:
		return "every choice was of the lowest energy: the temperature is zero"
	case hot <= 0:
		return "the choices do not prefer low energies: the temperature is infinite or negative"
	}
	return ""
}

// choiceReading completes a reading from the inverse temperature, the observed
// information and, when there are clusters, the sum of their squared scores.
func choiceReading(r Reading, beta, information, spread float64, draws, clusters int) Reading {
	r.Value, r.ESS = 1/beta, float64(draws)
	if !(information > 0) {
		r.Invalid = "the likelihood is flat at its maximum"
		return r
	}
	variance := 1 / information
	if clusters > 0 {
		if clusters < minClusters {
			r.Invalid = fmt.Sprintf("%d clusters, at least %d are needed", clusters, minClusters)
			return r
		}
		c := float64(clusters)
		variance = spread * c / (c - 1) / sq(information)
		r.DoF = c - 1
		r.ESS = min(float64(draws)/(variance*information), sq(float64(draws)))
	}
	r.StdErr = math.Sqrt(variance) / sq(beta)
	return r
}
