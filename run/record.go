package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Version is the version of the record schema (docs/run-format.md).
const Version = 1

// A Record is one line of events.jsonl: what was seen at one step, of the whole
// system or of one layer.
type Record struct {
	Time   float64            // seconds since 1970
	Step   int64              // optimiser steps taken
	Kind   string             // "step", "layer", "checkpoint", "resume", "end", "finding", "note"
	Layer  string             // of kind "layer"
	Text   string             // free text: a path, a message
	Values map[string]float64 // named as docs/run-format.md lists them
}

// The kinds of record that this package itself gives a meaning.
const (
	KindStep       = "step"       // of the whole system
	KindLayer      = "layer"      // of one layer
	KindCheckpoint = "checkpoint" // Text is the file, relative to the run
	KindResume     = "resume"     // records before it of later steps no longer hold
	KindEnd        = "end"        // the run reached its last step
)

// MarshalJSON writes the record as one flat object. Values that JSON has no
// number for are the strings "NaN", "Infinity" and "-Infinity".
func (r Record) MarshalJSON() ([]byte, error) {
	line := fmt.Appendf(nil, `{"v":%d,"t":%s,"step":%d,"kind":%s`, Version, strconv.FormatFloat(r.Time, 'f', 3, 64), r.Step, quote(r.Kind))
	if r.Layer != "" {
		line = fmt.Appendf(line, `,"layer":%s`, quote(r.Layer))
	}
	if r.Text != "" {
		line = fmt.Appendf(line, `,"text":%s`, quote(r.Text))
	}
	names := make([]string, 0, len(r.Values))
	for name := range r.Values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if reserved[name] {
			return nil, fmt.Errorf("record: %q is not a name for a value", name)
		}
		line = fmt.Appendf(line, `,%s:`, quote(name))
		switch x := r.Values[name]; {
		case math.IsNaN(x):
			line = append(line, `"NaN"`...)
		case math.IsInf(x, 1):
			line = append(line, `"Infinity"`...)
		case math.IsInf(x, -1):
			line = append(line, `"-Infinity"`...)
		default:
			line = strconv.AppendFloat(line, x, 'g', -1, 64)
		}
	}
	return append(line, '}'), nil
}

var reserved = map[string]bool{"v": true, "t": true, "step": true, "kind": true, "layer": true, "text": true}

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always marshal
	}
	return b
}

// UnmarshalJSON reads one record. Fields that are neither numbers nor known are
// skipped, so that other writers may add their own.
func (r *Record) UnmarshalJSON(line []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return err
	}
	version := 0
	if err := json.Unmarshal(fields["v"], &version); err != nil || version != Version {
		return fmt.Errorf(`record: expected "v":%d, got %s`, Version, fields["v"])
	}
	*r = Record{}
	for _, f := range []struct {
		name     string
		into     any
		required bool
	}{{"t", &r.Time, true}, {"step", &r.Step, true}, {"kind", &r.Kind, true}, {"layer", &r.Layer, false}, {"text", &r.Text, false}} {
		raw, ok := fields[f.name]
		if !ok && !f.required {
			continue
		}
		if err := json.Unmarshal(raw, f.into); err != nil {
			return fmt.Errorf("record: field %q: expected %T, got %q", f.name, f.into, raw)
		}
	}
	for name, raw := range fields {
		if reserved[name] {
			continue
		}
		x, ok := number(raw)
		if !ok {
			continue
		}
		if r.Values == nil {
			r.Values = map[string]float64{}
		}
		r.Values[name] = x
	}
	return nil
}

func number(raw []byte) (float64, bool) {
	switch string(bytes.Trim(raw, `"`)) {
	case "NaN":
		return math.NaN(), true
	case "Infinity":
		return math.Inf(1), true
	case "-Infinity":
		return math.Inf(-1), true
	}
	x, err := strconv.ParseFloat(string(raw), 64)
	return x, err == nil
}
