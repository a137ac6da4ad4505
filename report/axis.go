package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// An axis maps values from low to high to places from from to to. On a log axis
// low, high and the ticks are powers of ten.
type axis struct {
	low, high, from, to float64
	ticks               []float64
	log                 bool
	exponent            int // labels are in units of 10^exponent
}

// newAxis returns an axis whose ends are ticks, with at most about most of them.
func newAxis(low, high, from, to float64, most int) axis {
	low, high = widen(low, high)
	step := niceStep((high - low) / float64(most))
	a := axis{low: math.Floor(low/step+1e-9) * step, high: math.Ceil(high/step-1e-9) * step, from: from, to: to}
	for i := 0.0; a.low+i*step <= a.high+step/2; i++ {
		a.ticks = append(a.ticks, a.low+i*step)
	}
	if e := math.Floor(math.Log10(math.Max(math.Abs(a.low), math.Abs(a.high)))); e < -3 || e > 5 {
		a.exponent = int(e)
	}
	return a
}

// newTightAxis is newAxis without the parts beyond low and high.
func newTightAxis(low, high, from, to float64, most int) axis {
	low, high = widen(low, high)
	a := newAxis(low, high, from, to, most)
	slack := 1e-9 * (high - low)
	a.ticks = slices.DeleteFunc(a.ticks, func(t float64) bool { return t < low-slack || t > high+slack })
	a.low, a.high = low, high
	return a
}

// widen makes an interval of what may be a point or nothing.
func widen(low, high float64) (float64, float64) {
	switch {
	case !finite(low) || !finite(high) || low > high:
		return 0, 1
	case high-low <= 1e-12*math.Max(math.Abs(low), math.Abs(high)):
		half := math.Abs(low) / 2
		if half == 0 {
			half = 0.5
		}
		return low - half, high + half
	}
	return low, high
}

// niceStep returns the least of 1, 2, 5 × 10ⁿ that is not less than x.
func niceStep(x float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= x*(1-1e-9) {
			return factor * power
		}
	}
	return 10 * power
}

// newLogAxis returns an axis of the decimal logarithm, from low to high (both
// logarithms themselves). Its ticks are 1, 2, 5 × 10ⁿ while there is room.
func newLogAxis(low, high, from, to float64, most int) axis {
	low, high = widen(low, high)
	a := axis{from: from, to: to, log: true}
	marks := []float64{0, math.Log10(2), math.Log10(5)}
	every := 1.0
	switch decades := high - low; {
	case decades > float64(most):
		every = math.Ceil(decades / float64(most))
		marks = marks[:1]
	case decades > 2:
		marks = marks[:1]
	}
	const slack = 1e-9
	for decade := math.Floor(low/every) * every; decade <= math.Ceil(high/every)*every; decade += every {
		for _, mark := range marks {
			a.ticks = append(a.ticks, decade+mark)
		}
	}
	for len(a.ticks) > 2 && a.ticks[1] <= low+slack {
		a.ticks = a.ticks[1:]
	}
	for n := len(a.ticks); n > 2 && a.ticks[n-2] >= high-slack; n-- {
		a.ticks = a.ticks[:n-1]
	}
	a.low, a.high = a.ticks[0], a.ticks[len(a.ticks)-1]
	return a
}

// at returns the place of a value; of a logarithm on a log axis.
func (a axis) at(v float64) float64 { return a.from + (v-a.low)/(a.high-a.low)*(a.to-a.from) }

// place returns the place of a value, and whether it has one.
func (a axis) place(v float64) (at float64, ok bool) {
	if a.log {
		v = math.Log10(v)
	}
	return a.at(v), finite(v)
}

// drawBelow draws a horizontal axis at y, its grid up to top.
func (a axis) drawBelow(b *strings.Builder, y, top float64, title string) {
	for _, t := range a.ticks {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %.1fV%.1f"/><text class="soft" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`,
			a.at(t), top, y, a.at(t), y+17, a.label(t))
	}
	fmt.Fprintf(b, `<text class="soft" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, (a.from+a.to)/2, y+37, escape(a.title(title)))
}

// drawLeft draws a vertical axis at x, its grid to right.
func (a axis) drawLeft(b *strings.Builder, x, right float64, title string) {
	for _, t := range a.ticks {
		fmt.Fprintf(b, `<path class="grid" d="M%.1f %.1fH%.1f"/><text class="soft" x="%.1f" y="%.1f" text-anchor="end" dominant-baseline="middle">%s</text>`,
			x, a.at(t), right, x-6, a.at(t), a.label(t))
	}
	fmt.Fprintf(b, `<text class="soft" transform="translate(12 %.1f) rotate(-90)" text-anchor="middle">%s</text>`, (a.from+a.to)/2, escape(a.title(title)))
}

// title adds the power of ten of the labels to the title.
func (a axis) title(title string) string {
	if a.exponent == 0 {
		return title
	}
	power := "10" + superscript(a.exponent)
	if i := strings.LastIndexByte(title, '('); i >= 0 {
		return title[:i+1] + power + " " + title[i+1:]
	}
	return title + " (" + power + ")"
}

func (a axis) label(t float64) string {
	if a.log {
		if e := math.Round(t); math.Abs(t-e) < 1e-9 && (e < -3 || e > 4) {
			return "10" + superscript(int(e))
		}
		return number(math.Pow(10, t), 0)
	}
	if math.Abs(t) < 1e-9*(a.high-a.low) {
		return "0"
	}
	return number(t, a.exponent)
}

// number writes x in units of 10^exponent, with a true minus sign.
func number(x float64, exponent int) string {
	s := strconv.FormatFloat(x/math.Pow(10, float64(exponent)), 'g', 5, 64)
	if mantissa, power, found := strings.Cut(s, "e"); found {
		if n, err := strconv.Atoi(power); err == nil {
			s = mantissa + "×10" + superscript(n)
		}
	}
	return strings.Replace(s, "-", "−", 1)
}

// short writes x to three significant digits.
func short(x float64) string {
	size := math.Abs(x)
	if x == 0 || size >= 1e-3 && size < 1e5 || !finite(x) {
		x, _ = strconv.ParseFloat(strconv.FormatFloat(x, 'g', 3, 64), 64)
		return number(x, 0)
	}
	exponent := int(math.Floor(math.Log10(size)))
	return strings.Replace(strconv.FormatFloat(x/math.Pow(10, float64(exponent)), 'g', 3, 64), "-", "−", 1) + "×10" + superscript(exponent)
}

var superscripts = strings.NewReplacer("-", "⁻", "0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹")

func superscript(n int) string { return superscripts.Replace(strconv.Itoa(n)) }

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
