package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// A decoder parses lines of events.jsonl, one after the other. encoding/json
// takes four times as long, and a long run has millions of lines.
type decoder struct {
	head   Record  // of the last line, without its values
	fields []field // of the last line; of two with one name the later counts

	line  []byte
	at    int
	names []string          // of the last lines, in order: the next one most likely has them too
	known map[string]string // strings that repeat, to be allocated once
}

// A field is one named value of a record.
type field struct {
	name  string
	value float64
}

// maxKnown bounds what a decoder remembers: a file may hold any number of names.
const (
	maxKnown = 1 << 12
	maxNames = 1 << 6
)

// record returns the last line as a record of its own.
func (d *decoder) record() Record {
	r := d.head
	if len(d.fields) > 0 {
		r.Values = make(map[string]float64, len(d.fields))
		for _, f := range d.fields {
			r.Values[f.name] = f.value
		}
	}
	return r
}

// decode parses one line: an object of strings and numbers. It takes the numbers
// NaN, Infinity and -Infinity, which Python writes, with and without quotes.
// Whatever else a field holds is checked and skipped.
func (d *decoder) decode(line []byte) error {
	d.line, d.at, d.head, d.fields = line, 0, Record{}, d.fields[:0]
	seen, count := 0, 0
	if !d.take('{') {
		return d.expected("an object")
	}
	for first := true; !d.take('}'); first = false {
		if !first && !d.take(',') {
			return d.expected(`"," or "}"`)
		}
		name, err := d.name(count)
		count++
		if err != nil {
			return err
		}
		if !d.take(':') {
			return d.expected(`":"`)
		}
		bit, err := d.member(name)
		if err != nil {
			return err
		}
		seen |= bit
	}
	if d.peek(); d.at < len(line) {
		return d.expected("the end of the line")
	}
	for i, name := range []string{"v", "t", "step", "kind"} {
		if seen&(1<<i) == 0 {
			return fmt.Errorf("the field %q is missing", name)
		}
	}
	return nil
}

// member parses what a name stands for. It returns the bit of a required name.
func (d *decoder) member(name string) (bit int, err error) {
	c := d.peek()
	switch name {
	case "v":
		v, err := d.integer()
		if err == nil && v != Version {
			err = fmt.Errorf("the record is of version %d: this kelvin reads version %d", v, Version)
		}
		return 1, err
	case "t":
		d.head.Time, err = d.number()
		if err == nil && !finite(d.head.Time) {
			err = d.expected("a finite time")
		}
		return 2, err
	case "step":
		d.head.Step, err = d.integer()
		return 4, err
	case "kind":
		if d.head.Kind, err = d.text(true); err == nil && d.head.Kind == "" {
			err = errors.New("the kind is empty")
		}
		return 8, err
	case "layer":
		d.head.Layer, err = d.text(true)
		return 0, err
	case "text":
		d.head.Text, err = d.text(false)
		return 0, err
	case "":
		return 0, d.skip(c)
	}
	var x float64
	switch {
	case c == '-' || c >= '0' && c <= '9' || c == 'N' || c == 'I':
		x, err = d.number()
	case c == '"':
		s, err := d.text(true)
		if x, ok := notFinite(s); err == nil && ok {
			d.fields = append(d.fields, field{name, x})
		}
		return 0, err
	default:
		return 0, d.skip(c)
	}
	if err == nil {
		d.fields = append(d.fields, field{name, x})
	}
	return 0, err
}

func notFinite(s string) (x float64, ok bool) {
	switch s {
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	}
	return 0, false
}

// peek skips white space and returns the next byte, 0 at the end.
func (d *decoder) peek() byte {
	for ; d.at < len(d.line); d.at++ {
		switch c := d.line[d.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (d *decoder) take(c byte) bool {
	if d.peek() != c {
		return false
	}
	d.at++
	return true
}

func (d *decoder) expected(what string) error {
	if d.at >= len(d.line) {
		return fmt.Errorf("byte %d: expected %s, got the end of the line", d.at, what)
	}
	rest := d.line[d.at:]
	return fmt.Errorf("byte %d: expected %s, got %q", d.at, what, rest[:min(len(rest), 16)])
}

// name parses the name of field i, which most likely is what it was before.
func (d *decoder) name(i int) (string, error) {
	d.peek()
	if i < len(d.names) {
		guess := d.names[i]
		if end := d.at + 1 + len(guess); end < len(d.line) && d.line[d.at] == '"' && d.line[end] == '"' && string(d.line[d.at+1:end]) == guess {
			d.at = end + 1
			return guess, nil
		}
	}
	start := d.at
	name, err := d.text(true)
	if plain := d.at-start == len(name)+2; err == nil && plain && i < maxNames {
		d.names = append(d.names[:min(i, len(d.names))], name)
	}
	return name, err
}

// text parses a string; one that repeats from line to line is remembered.
func (d *decoder) text(repeats bool) (string, error) {
	if d.peek() != '"' {
		return "", d.expected("a string")
	}
	start, plain := d.at, true
	for i := start + 1; i < len(d.line); i++ {
		switch c := d.line[i]; {
		case c == '"':
			d.at = i + 1
			if !plain {
				var s string
				if err := json.Unmarshal(d.line[start:d.at], &s); err != nil {
					return "", fmt.Errorf("byte %d: %w", start, err)
				}
				return s, nil
			}
			return d.keep(d.line[start+1:i], repeats), nil
		case c == '\\':
			plain = false
			i++
		case c < ' ' || c >= 0x80: // not allowed, or UTF-8 to be checked
			plain = false
		}
	}
	d.at = len(d.line)
	return "", d.expected(`"\""`)
}

func (d *decoder) keep(b []byte, repeats bool) string {
	if s, ok := d.known[string(b)]; ok { // does not allocate
		return s
	}
	s := string(b)
	if repeats && len(d.known) < maxKnown {
		if d.known == nil {
			d.known = map[string]string{}
		}
		d.known[s] = s
	}
	return s
}

func (d *decoder) integer() (int64, error) {
	d.peek()
	start := d.at
	if _, _, ok := d.scan(); ok {
		if n, err := strconv.ParseInt(string(d.line[start:d.at]), 10, 64); err == nil {
			return n, nil
		}
	}
	d.at = start
	return 0, d.expected("an integer")
}

// number parses a number; one too large for a float64 is infinite.
func (d *decoder) number() (float64, error) {
	d.peek()
	start := d.at
	x, exact, ok := d.scan()
	if ok && exact {
		return x, nil
	}
	if ok {
		x, _ = strconv.ParseFloat(string(d.line[start:d.at]), 64) // its only error is the range
		return x, nil
	}
	d.at = start
	if x, ok := notFinite(string(d.token())); ok {
		return x, nil
	}
	d.at = start
	return 0, d.expected("a number")
}

// token takes what could be a number or a bare word.
func (d *decoder) token() []byte {
	start := d.at
	for d.at < len(d.line) {
		c := d.line[d.at]
		if c == ',' || c == '}' || c <= ' ' {
			break
		}
		d.at++
	}
	return d.line[start:d.at]
}

// scan takes a number as JSON writes them. Unless it has very many digits or is
// very large or small, x is the number exactly rounded.
func (d *decoder) scan() (x float64, exact, ok bool) {
	line, i := d.line, d.at
	negative := i < len(line) && line[i] == '-'
	if negative {
		i++
	}
	var n uint64
	digits := func() (count int) {
		for ; i < len(line) && line[i]-'0' < 10; i++ {
			n = 10*n + uint64(line[i]-'0')
			count++
		}
		return count
	}
	zero := i < len(line) && line[i] == '0'
	whole, fraction := digits(), 0
	if whole == 0 || zero && whole > 1 {
		return 0, false, false
	}
	if i < len(line) && line[i] == '.' {
		i++
		if fraction = digits(); fraction == 0 {
			return 0, false, false
		}
	}
	mantissa, exponent := n, 0
	if i < len(line) && line[i]|0x20 == 'e' {
		i++
		down := i < len(line) && line[i] == '-'
		if down || i < len(line) && line[i] == '+' {
			i++
		}
		n = 0
		if count := digits(); count == 0 {
			return 0, false, false
		} else if exponent = int(n); count > 4 {
			exponent = 9999
		}
		if down {
			exponent = -exponent
		}
	}
	d.at = i
	if whole+fraction > 19 { // the mantissa may have overflowed
		return 0, false, true
	}
	if x, exact = decimal(mantissa, fraction-exponent); negative {
		x = -x
	}
	return x, exact, true
}

// skip passes over a value that begins with c and means nothing here.
func (d *decoder) skip(c byte) error {
	start := d.at
	switch c {
	case '"':
		_, err := d.text(false)
		return err
	case '{', '[':
		if !d.brackets() {
			return d.expected("the end of a nested value")
		}
	default:
		if _, ok := notFinite(string(d.token())); ok {
			return nil
		}
	}
	if !json.Valid(d.line[start:d.at]) {
		d.at = start
		return d.expected("a value")
	}
	return nil
}

// brackets passes over a nested value, to after its last bracket.
func (d *decoder) brackets() bool {
	depth, quoted := 0, false
	for ; d.at < len(d.line); d.at++ {
		switch c := d.line[d.at]; {
		case quoted && c == '\\':
			d.at++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				d.at++
				return true
			}
		}
	}
	d.at = len(d.line)
	return false
}
