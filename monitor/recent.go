package monitor

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kelvin-ml/kelvin/run"
)

// recentBytes is how much of the end of the records ReadRecent reads: more than
// the window of any network of up to a thousand layers.
const recentBytes = 8 << 20

// ReadRecent reports on the last records of the run in dir, as a monitor that saw
// all of them would, in a time that does not grow with their number. Lines that
// are no records are left out. A run without records has a report of no samples.
func ReadRecent(dir string) (Report, error) {
	m := New()
	f, err := os.Open(filepath.Join(dir, "events.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return m.Report(), nil
	}
	if err != nil {
		return Report{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Report{}, err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-recentBytes), recentBytes))
	if err != nil {
		return Report{}, err
	}
	if info.Size() > recentBytes {
		text = text[bytes.IndexByte(text, '\n')+1:]
		m.total = 2 * mostSamples // those before, that the window does not reach
	}
	for line := range bytes.Lines(text) {
		var r run.Record
		if r.UnmarshalJSON(line) == nil {
			m.Add(r)
		}
	}
	return m.Report(), nil
}
