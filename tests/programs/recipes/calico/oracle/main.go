// Command calico-oracle asks Calico's own code what it makes of the policies of a cluster.
//
// Requests are JSON values on standard input, each is answered by one line on standard output
// (wire.go has both). Nothing is installed: the objects of a request go through Calico's converters
// and Felix's calculation graph, and verdicts are worked out on what the graph would send to a
// dataplane.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sirupsen/logrus"
)

func main() {
	logrus.SetOutput(io.Discard)
	logrus.SetLevel(logrus.WarnLevel)
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	in.DisallowUnknownFields()
	out.SetEscapeHTML(false)
	for {
		var asked request
		err := in.Decode(&asked)
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = out.Encode(serve(asked))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "calico-oracle:", err)
			os.Exit(2)
		}
	}
}

// serve answers the probes of one request.
func serve(asked request) (given response) {
	defer func() {
		if cause := recover(); cause != nil { // in Calico's code
			given = response{ID: asked.ID, Error: fmt.Sprint("panic: ", cause)}
		}
	}()
	notes := listen()
	objects := readObjects(asked.Objects)
	ends := findEnds(objects)
	answers := make([]answer, len(asked.Probes))
	for i, one := range asked.Probes {
		answers[i] = ends.ask(one)
	}
	return response{ID: asked.ID, Errors: objects.problems, Notes: notes.texts, Answers: answers}
}
