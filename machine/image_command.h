/* `vitrine image`: makes, examines and changes disk images.
 */
#ifndef MACHINE_IMAGE_COMMAND_H
#define MACHINE_IMAGE_COMMAND_H

/* argv[0] is "image". Exit status, as qemu-img's. */
int image_command(int argc, char **argv);

#endif
