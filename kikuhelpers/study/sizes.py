"""Sizes of the paper's network (Table 2), for those who need no other setting of a study."""

LATENT_DIMENSIONS = (16, 32, 64, 128, 256)
NETWORK_INPUT_PX = 120  # 480 px binned by 4
