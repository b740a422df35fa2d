# The job of test/kernels: what `restitch check` says on this kernel. Its exit code is in what it says.
node packages/cli/bin/restitch.js check --json || true
