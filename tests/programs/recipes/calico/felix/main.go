// Command calico-felix is Calico's Felix. Its only argument is the path of a configuration file;
// settings come from the environment, as FELIX_NAME.
package main

import (
	"fmt"
	"os"

	"github.com/projectcalico/calico/felix/daemon"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: calico-felix CONFIGURATION-FILE")
		os.Exit(2)
	}
	daemon.Run(os.Args[1], "v3.31.0", "", "")
}
