"""Human-labelled pictures in the layouts of ImageNet, Places, VOC, COCO: paths and labels."""
