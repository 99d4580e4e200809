"""Public layouts and formats: files as they are named there, and what they are found to be, by their names.

`python -m tests.pipeline.sources.layouts` writes docs/sources.md, which a test compares.
"""

# ruff: noqa: E501
from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

DOCUMENT = Path(__file__).parents[3] / "docs" / "sources.md"

STEREO = """
Middlebury 2001–2006 | cones/{im2,im6,disp2,disp6}.png | stereo 1
Middlebury 2014, 2021 | Adirondack/{im0,im1}.png Adirondack/disp0.pfm Adirondack/calib.txt | stereo 1
Middlebury views | Aloe/{view1,view5,disp1,disp5}.png | stereo 1
ETH3D two-view | delivery_area_1l/{im0,im1,mask0nocc}.png delivery_area_1l/calib.txt | stereo 1
KITTI stereo 2012 | training/{colored_0,colored_1}/00000{0..2}_10.png | stereo 3
KITTI stereo 2015 | training/{image_2,image_3}/00000{0..2}_10.png training/disp_occ_0/00000{0..2}_10.png | stereo 3
KITTI odometry | sequences/00/{image_0,image_1,image_2,image_3}/00000{0..2}.png sequences/00/calib.txt | stereo 3, stereo 3
KITTI raw | 2011_09_26_drive_0001_sync/{image_02,image_03}/data/000000000{0..3}.png | stereo 4
Cityscapes | {leftImg8bit,rightImg8bit}/train/aachen/aachen_00000{0..2}_000019_{leftImg8bit,rightImg8bit}.png | stereo 3
Scene Flow | frames_cleanpass/TRAIN/A/0000/{left,right}/000{6..9}.png | stereo 4
Sintel | {clean_left,clean_right}/alley_1/frame_000{1..4}.png | stereo 4
Virtual KITTI | Scene01/clone/frames/rgb/{Camera_0,Camera_1}/rgb_0000{0..2}.jpg | stereo 3
TartanAir | P001/{image_left,image_right}/00000{0..2}_{left,right}.png P001/pose_left.txt | stereo 3
TartanAir V2 | P001/{image_lcam_front,image_rcam_front}/00000{0..2}_{lcam_front,rcam_front}.png | stereo 3
DrivingStereo | {train-left-image,train-right-image}/2018-07-09/2018-07-09-{0..2}.jpg | stereo 3
InStereo2K | 000001/{left,right,left_disp,right_disp}.png | stereo 1
Holopix50k | train/{left,right}/-L2{a..c}_{left,right}.jpg | stereo 1, stereo 1, stereo 1
Flickr1024 | Train/000{1..3}_{L,R}.png | stereo 3
IRS | Home/{l,r}_{1..4}.png | stereo 4
Falling Things | kitchen_0/00000{0..2}.{left,right}.jpg kitchen_0/00000{0..2}.left.{depth,seg}.png | stereo 3
Booster | Bathroom/{camera_00,camera_02}/im{0,1}.png | stereo 1
UnrealStereo4K | 00000/{Image0,Image1}/0000{0..2}.png 00000/Disp0/0000{0..2}.npy | stereo 3
Spring | 0001/{frame_left,frame_right}/{frame_left,frame_right}_000{1..3}.png | stereo 3
Argoverse | log/{stereo_front_left,stereo_front_right}/{stereo_front_left,stereo_front_right}_31597236{0..2}.jpg | stereo 3
EuRoC MAV | mav0/{cam0,cam1}/data/14036365797{6..8}0000000.png | stereo 3
ApolloScape | Record001/{camera_5,camera_6}/17112323{0..2}_{Camera_5,Camera_6}.jpg | stereo 3
CREStereo | tree/{0..2}_{left,right}.jpg tree/{0..2}_left.disp.jpg | stereo 3
Infinigen | frames/Image/{camera_0,camera_1}/Image_0_0_000{1..3}_{0,1}.png | stereo 3
SERV-CT | Rectified/{Left_rectified,Right_rectified}/00{1..3}.png | stereo 3
One folder | Left_000{0..2}.jpg Right_000{0..2}.jpg | stereo 3
"""
DEPTH = """
TUM RGB-D | fr1/rgb/130503110{1..4}.100000.png fr1/depth/130503110{1..4}.113000.png fr1/{rgb,depth,groundtruth}.txt | rgbd 4
ICL-NUIM | living/{rgb,depth}/{0..3}.png living/traj0.gt.freiburg | rgbd 4
ScanNet | scene0000_00/{color/{0..3}.jpg,depth/{0..3}.png,pose/{0..3}.txt,intrinsic/intrinsic_color.txt} | rgbd 4
7-Scenes | chess/seq-01/frame-00000{0..3}.{color.png,depth.png,pose.txt} | rgbd 4
NYU Depth | kitchen/rgb_0000{1..4}.jpg kitchen/sync_depth_0000{1..4}.png | rgbd 4
Replica | office0/results/{frame00000{0..3}.jpg,depth00000{0..3}.png} office0/traj.txt | rgbd 4
Redwood | loft/{color,depth}/00000{1..4}.{png} loft/trajectory.log | rgbd 4
RealSense | realsense/{color,depth}/{1..4}.png realsense/camera_intrinsic.json | rgbd 4
Kinect | kinect/{rgb,depth}/000{1..4}.png | rgbd 4
Virtual KITTI depth | Scene01/rgb/Camera_0/rgb_0000{1..4}.jpg Scene01/depth/Camera_0/depth_0000{1..4}.png | rgbd 4
BOP | 000001/{rgb,depth}/00000{1..4}.png 000001/mask/00000{1..4}_000000.png 000001/scene_camera.json | rgbd 4
Record3D | EXR_RGBD/{rgb/{0..3}.jpg,depth/{0..3}.exr,metadata.json} | rgbd 4
Polycam | keyframes/{images/10{1..4}.jpg,depth/10{1..4}.png,cameras/10{1..4}.json} | rgbd 4
nerfstudio with depth | scene/{images/frame_0000{1..4}.png,depths/frame_0000{1..4}.png,transforms.json} | rgbd 4
"""
SEQUENCES = """
DAVIS | JPEGImages/480p/bear/0000{0..4}.jpg Annotations/480p/bear/0000{0..4}.png | sequence 5
Numbered from anywhere | shot/img_000{7..9}.png | sequence 3
Every fifth frame | shot/frame_{000,005,010,015}.jpg | sequence 4
A frame is missing | shot/{1,2,3,5,6}.png | sequence 3, sequence 2
Size in the name | shot/frame_000{1..4}_1920x1080.png | sequence 4
Stamps in seconds | cam/170000000{1..4}.000000.png | sequence 4
Stamps in nanoseconds | cam/14036365797{5..8}0000000.png | sequence 4
Stamps in milliseconds | cam/140363657970{1..4}.png | sequence 4
One folder a camera | rig/{front,back}/000{1..4}.jpg | sequence 4, sequence 4
nerfstudio | scene/{images/frame_0000{1..4}.png,transforms.json} | sequence 4
COLMAP | scene/{images/IMG_000{1..4}.jpg,sparse/0/{cameras,images}.txt} | sequence 4
Photos by time of day | camera/IMG_20240102_{112233,114501,120000}.jpg | photo 3
"""
MAPS = """
Kubric | 0/rgba_0000{0..3}.png 0/{segmentation,normal,object_coordinates,forward_flow}_0000{0..3}.png | sequence 4
Hypersim, previews | images/scene_cam_00_final_preview/frame.000{0..3}.color.jpg images/scene_cam_00_geometry_preview/frame.000{0..3}.{depth_meters,normal_cam,semantic}.png | rgbd 4
Omnidata | taskonomy/{rgb,normal,depth_euclidean,mask_valid,reshading}/point_{1..4}_view_0.png | rgbd 4
BlenderProc | out/{0..3}_{colors,normals,segmap}.png | sequence 4
A photo and its maps | {0001,0001_depth,0001_normal,0001_mask,0001_seg}.png | rgbd 1
ADE20K | {images,annotations}/training/ADE_train_0000000{1..3}.{jpg,png} | sequence 3
COCO panoptic | {val,panoptic_val}/00000000013{5..7}.{jpg,png} | sequence 3
Carvana | train/ab_0{1..3}.jpg train_masks/ab_0{1..3}_mask.gif | sequence 3
VOC | {JPEGImages,SegmentationClass}/2007_00003{2..4}.{jpg,png} | sequence 3
A dataset of this project | labels/zarr.json labels/shard/image/0.png photo.png | photo 1
Rendered fields of this project | {image,depth,edges,normals,flow,regions,motion}_0001.png | rgbd 1
"""
FORMATS = """
Photos | a.jpg b.jpeg c.png d.webp e.tif f.bmp g.avif h.jp2 i.ppm | photo 9
Videos | a.mp4 b.mov c.mkv d.avi e.webm f.mpg g.ts h.MTS i.vob j.flv | video 10
Passed over | a.jpg notes.md model.blend | photo 1
"""
ARCHIVES = """
Zip of anything above | data.zip!/{a.jpg,b.png,shot/{0..3}.png,film.mp4} | sequence 4, video 1, photo 2
Zip with a dataset in it | kitti.zip!/training/{image_2,image_3}/00000{0..2}_10.png | stereo 3
Tar | seq-01.tar!/seq-01/frame-00000{0..3}.{color.png,depth.png,pose.txt} | rgbd 4
Tar packed with gzip | frames.tar.gz!/./img_000{1..4}.jpg | sequence 4
Images of classes | imagenette2.tgz!/train/{n01440764/{b,d}.jpg,n02102040/{a,c}.jpg} | photo 4
WebDataset | 0000{0..1}.tar!/0000{1..3}.{jpg,txt,json} | photo 6
WebDataset with classes | train-000.tar!/sample{1..3}.{png,cls} | photo 3
WebDataset of videos | 000.tar!/{a..c}.{mp4,txt} | video 3
Hugging Face image folder | train/{dog,cat}/{a..b}.png train/metadata.jsonl | photo 4
Hugging Face video folder | train/{a..c}.mp4 train/metadata.csv | video 3
Hugging Face folder as a zip | data/train.zip!/{a.png,b.png,metadata.csv} | photo 2
Parquet with a column of pictures | data/train-00000-of-00001.parquet!/image/{0..3}.jpg | photo 4
Parquet with two columns of pictures | pairs.parquet!/{before/{0..2}.png,after/{0..2}.png} | photo 6
LeRobot 3 | so100/{meta/info.json,videos/observation.images.{front,top}/chunk-000/file-00{0..1}.mp4} | video 4
LeRobot 3, pictures in Parquet | pusht/data/chunk-000/file-000.parquet!/observation.image/{0..3}.png | sequence 4
LeRobot 2 | aloha/{meta/info.json,meta/episodes.jsonl,videos/chunk-000/cam_high/episode_00000{0..2}.mp4} | video 3
Names that lead out | bad.zip!/../up.jpg bad.zip!//abs.jpg bad.zip!/in.jpg | photo 1
An archive in an archive | all.zip!/{inner.zip,a.jpg} | photo 1
"""
TABLES = {
    "Stereo pairs": STEREO,
    "Colour with depth": DEPTH,
    "Sequences": SEQUENCES,
    "Maps beside photos": MAPS,
    "Files": FORMATS,
    "Archives and tables": ARCHIVES,
}
HEAD = """# What Freelabels reads

Name a folder, and files that belong together are found by their names, then confirmed by their pixels: a stereo pair
must be rectified views of one scene, frames of a sequence must follow each other. What isn't what its name promises
is used as what it is, and one line says so. `freelabels sources PATH` shows, before any work, how your files were
understood. The tables are made from `tests/pipeline/sources/layouts.py`, where each is a test.

Depth is metres. Its unit comes from the layout (TUM RGB-D and ICL-NUIM ÷ 5000, ScanNet, 7-Scenes, NYU, RealSense,
Kinect and Redwood ÷ 1000, KITTI ÷ 256, Virtual KITTI ÷ 100, Replica ÷ 6553.5; EXR, PFM and NPY as they are), from a
file beside it (BOP, nerfstudio, ScanNet, RealSense, Replica), or from `--depth-unit`. What was assumed is said and
costs confidence, and so does a median that no such sensor has. Depth of another shape or field of view than colour is
left out.

Cameras, baselines and poses come from Middlebury, ETH3D and KITTI calibrations, OpenCV, Kalibr and EuRoC YAML,
RealSense, Open3D, nerfstudio, Polycam, Record3D and BOP JSON, COLMAP models, and trajectories of TUM, ScanNet, Replica,
Redwood, KITTI and TartanAir. Depth from video follows told poses where what it sees bears them out. Lens distortion
isn't undone.

Videos with a sound track also give `sound` and `sound_texture`, stereo pairs `right`; `freelabels sources` shows which do.

Tars (plain or gzip), zips and Parquet tables are read where they lie; nothing is unpacked to disk. A file inside one is
called `data.zip!/shot/0.png`. Limits: a million files an archive and 128 MiB of directory (a name or header of a tar:
1 MiB); a file in a zip that has to be unpacked, or a cell of a table, 256 MiB (what is stored as it is has no limit). An
archive that unpacks to more than 256 MiB and 200 times its size, or whose files overlap, is a bomb and refused. Names that
are absolute or hold `..`, links, files under a password and archives inside archives are passed over, one line each. Of a
tar that is cut off, what is before the cut is used. In an object store a tar is read through once in each process, to learn
what it holds.

Words that stand beside pictures become *tags*: `.txt`, `.caption`, `.cls` and `.json` of a picture's name, `metadata`,
`caption(s)` or `tags` as `.csv`, `.tsv` or `.jsonl` with a `file_name`, columns of a Parquet table, tasks of LeRobot's
episodes. Of tables and JSON those entries count whose name has a word such as caption, text, alt, title, tag, label, class
or task. They are kept with the file that told them (`Dataset.tags()`), at most 64 of 4,096 characters a clip. No label is
made from them and no task uses them.
"""


def rows() -> Iterator[tuple[str, str, str, str]]:
    """(table, layout, pattern of names, what is found)."""
    for table, text in TABLES.items():
        for line in text.strip().splitlines():
            title, pattern, found = (part.strip() for part in line.split(" | "))
            yield table, title, pattern, found


def expanded(pattern: str) -> list[str]:
    """The names behind a pattern with {a,b} and {0..3} in it; lists of one length in a name go together."""
    names = []
    for word in pattern.split():
        names += _words(word)
    return list(dict.fromkeys(names))


def _words(word: str) -> list[str]:
    found = re.search(r"\{([^{}]*)\}", word)
    if not found:
        return [word]
    span = re.fullmatch(r"(\w)\.\.(\w)", found[1])
    if span:
        choices = [chr(c) for c in range(ord(span[1]), ord(span[2]) + 1)]
        return [n for c in choices for n in _words(word[: found.start()] + c + word[found.end() :])]
    count = found[1].count(",")
    names = []
    for k in range(count + 1):  # lists as long as this one are gone through together

        def chosen(other: re.Match[str], k: int = k) -> str:
            return (
                other[1].split(",")[k] if ".." not in other[1] and other[1].count(",") == count else other[0]
            )

        names += _words(re.sub(r"\{([^{}]*)\}", chosen, word))
    return names


def document() -> str:
    """docs/sources.md."""
    text = [HEAD]
    for table in TABLES:
        text.append(f"## {table}\n\n| layout | files | found as |\n|---|---|---|")
        text += [
            f"| {title} | `{names}` | {found} |" for where, title, names, found in rows() if where == table
        ]
        text.append("")
    return "\n".join(text)


if __name__ == "__main__":
    sys.stdout.write(f"{DOCUMENT.write_text(document())} characters\n")
