/* `vitrine run` on a fake machine, for tests of the window and of the control socket. */
#include "tests/ui/fake_machine.h"
#include "ui/cli.h"

int main(int argc, char **argv)
{
    fake_wanted();
    return cli_run(argc, argv);
}
